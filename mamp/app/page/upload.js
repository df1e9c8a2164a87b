// A video that is dropped on the page, or chosen there, while none is open.

import { KEY, TAB } from "./server.js";

const $ = (id) => document.getElementById(id);

function upload(file) {
  if (!file) return;
  const request = new XMLHttpRequest();
  request.open("PUT", `/api/video?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("x-mamp-key", KEY);
  request.setRequestHeader("x-mamp-tab", TAB);
  request.upload.onprogress = (e) => ($("upload").textContent = `${Math.round((100 * e.loaded) / e.total)}% of ${file.name}`);
  request.onload = () => {
    let words = "";
    try { words = JSON.parse(request.response).error || ""; } catch { words = "the server gave no answer"; }
    $("upload").textContent = words && sentence(words, file.name);
  };
  request.onerror = () => ($("upload").textContent = "The file was not taken: it is too large, or the connection was lost.");
  request.send(file);
}

const sentence = (words, name) => `${words.startsWith(name) ? words : words[0].toUpperCase() + words.slice(1)}.`;

// refuse(file) follows a drop where a video is open already
export function receiveVideos(refuse) {
  $("file").onchange = () => upload($("file").files[0]);
  document.addEventListener("dragover", (e) => (e.preventDefault(), $("welcome").classList.add("over")));
  document.addEventListener("dragleave", () => $("welcome").classList.remove("over"));
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    $("welcome").classList.remove("over");
    if (!$("welcome").hidden) upload(e.dataTransfer.files[0]);
    else refuse(e.dataTransfer.files[0]);
  });
}
