// The page. Whatever comes from users or from the server gets into it as text, never as HTML.
"use strict";

const MAX_BYTES = 10 * 1024 * 1024;
const AT_A_TIME = 3;
const SIZES = ["small", "medium", "large"];
// Then a card says that it takes longer than it should.
const LONG = 30_000;

const find = (id) => document.getElementById(id);
const album = find("album");
const cards = new Map(); // by the picture's id

// --- Cards ---------------------------------------------------------------------------------------

function makeCard(name) {
  const card = find("card").content.cloneNode(true).firstElementChild;
  card.querySelector(".name").textContent = name;
  card.querySelector(".name").title = name;
  card.querySelector("progress").setAttribute("aria-label", `sending ${name}`);
  album.prepend(card);
  count();
  return card;
}

function show(card, state, text) {
  card.classList.remove("sending", "waiting", "done", "failed");
  card.classList.add(state);
  card.querySelector(".status").textContent = text;
}

function count() {
  find("count").textContent = album.children.length || "";
  find("empty").hidden = album.children.length > 0;
}

function waits(card) {
  show(card, "waiting", "In the queue");
  setTimeout(() => {
    if (card.classList.contains("waiting")) {
      show(card, "waiting", "Takes longer than usual. It is safe in the queue.");
    }
  }, LONG);
}

// --- News of pictures ----------------------------------------------------------------------------

function tell(picture) {
  let card = cards.get(picture.id);
  if (!card) {
    card = makeCard(picture.name);
    cards.set(picture.id, card);
    card.dataset.picture = picture.id;
  }
  card.picture = picture;
  const { name, thumbnails, failure } = picture;
  const before = card.className;
  if (thumbnails.length === SIZES.length) {
    show(card, "done", "Ready");
  } else if (failure) {
    show(card, "failed", failure);
  } else if (!card.classList.contains("waiting")) {
    waits(card);
  }
  showThumbnails(card, picture);
  const settled = card.classList.contains("done") || card.classList.contains("failed");
  // Only what changes while somebody is here: a screen reader would read all of the past.
  if (settled && before !== card.className && before !== "card") {
    find("news").textContent = `${name}: ${card.querySelector(".status").textContent}`;
  }
}

function showThumbnails(card, { id, name, thumbnails }) {
  const url = (size) => `/thumbnails/${id}/${size}`;
  const best = ["medium", "large", "small"].find((size) => thumbnails.includes(size));
  const image = card.querySelector("img");
  if (best && image.getAttribute("src") !== url(best)) {
    if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
    image.src = url(best);
    image.alt = name;
  }
  const links = SIZES.filter((size) => thumbnails.includes(size)).map((size) => {
    const link = document.createElement("a");
    link.href = url(size);
    link.textContent = size;
    link.setAttribute("aria-label", `${size} thumbnail of ${name}`);
    return link;
  });
  card.querySelector(".sizes").replaceChildren(...links);
}

// Tells of the pictures of late, and then of each that changes. After a lost connection the browser
// asks again by itself, and is told anew.
const events = new EventSource("/events");
events.onmessage = (event) => tell(JSON.parse(event.data));
events.onopen = () => { find("offline").hidden = true; };
events.onerror = () => { find("offline").hidden = false; };

// --- Uploads -------------------------------------------------------------------------------------

const outbox = [];
let sending = 0;

function add(files) {
  for (const file of files) {
    const card = makeCard(file.name);
    if (file.size > MAX_BYTES) {
      show(card, "failed", "This picture has more than 10 MB. Please choose a smaller one.");
      continue;
    }
    show(card, "sending", "Sending");
    const preview = card.querySelector("img");
    preview.onerror = () => preview.removeAttribute("src");
    preview.src = URL.createObjectURL(file);
    outbox.push({ file, card });
  }
  sendNext();
}

function sendNext() {
  while (outbox.length > 0 && sending < AT_A_TIME) {
    const { file, card } = outbox.shift();
    sending += 1;
    send(file, card).finally(() => {
      sending -= 1;
      sendNext();
    });
  }
}

async function send(file, card) {
  try {
    const { id } = await post(file, (part) => { card.querySelector("progress").value = part; });
    waits(card);
    // News may be faster than the answer, and has made a card then.
    const early = cards.get(id);
    cards.set(id, card);
    card.dataset.picture = id;
    if (early) {
      early.remove();
      tell(early.picture);
      count();
    }
  } catch (error) {
    show(card, "failed", error.message);
  }
}

// `fetch` does not tell how far an upload has come.
function post(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/pictures?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status === 202) resolve(request.response);
      else reject(new Error(request.response?.error ?? "That did not work. Please try again."));
    };
    request.onerror = () => reject(new Error("It could not be sent. Please try again."));
    request.send(file);
  });
}

// --- Choosing and dropping -----------------------------------------------------------------------

const drop = find("drop");
const files = find("files");

files.addEventListener("change", () => {
  add(files.files);
  files.value = ""; // the same file can be chosen again
});
drop.addEventListener("submit", (event) => event.preventDefault());

// Anywhere on the page: a picture dropped beside the box must not replace the page, nor must a link.
let stillOver;
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  if (!event.dataTransfer.types.includes("Files")) {
    event.dataTransfer.dropEffect = "none";
    return;
  }
  drop.classList.add("over");
  // It comes again and again, until the drag is over; not everybody says so when it is given up.
  clearTimeout(stillOver);
  stillOver = setTimeout(() => drop.classList.remove("over"), 1000);
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add(event.dataTransfer.files);
});
