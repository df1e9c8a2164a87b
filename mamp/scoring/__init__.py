"""Scores of masks against truth: J and F under the rules of each benchmark; numpy, no torch."""

from mamp.scoring.export import SERVERS, Export, export
from mamp.scoring.folders import score, score_videos, split_seen
from mamp.scoring.metrics import boundary_accuracy, boundary_map, region_similarity, score_frame, statistics
from mamp.scoring.protocols import PROTOCOLS, score_sequence
from mamp.scoring.scores import ObjectScores, Scores
from mamp.scoring.tables import (
    format_table,
    run_score,
    write_csv,
    write_frames,
    write_json,
    write_official_csv,
)
from mamp.scoring.truth import Video, guess_protocol, open_truth, seen_categories

__all__ = [
    "PROTOCOLS",
    "SERVERS",
    "Export",
    "ObjectScores",
    "Scores",
    "Video",
    "boundary_accuracy",
    "boundary_map",
    "export",
    "format_table",
    "guess_protocol",
    "open_truth",
    "region_similarity",
    "run_score",
    "score",
    "score_frame",
    "score_sequence",
    "score_videos",
    "seen_categories",
    "split_seen",
    "statistics",
    "write_csv",
    "write_frames",
    "write_json",
    "write_official_csv",
]
