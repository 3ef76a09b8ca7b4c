"use strict";
(() => {
  const player = document.getElementById("player"), command = document.getElementById("command");
  const buttons = [...document.querySelectorAll(".hear")], boxes = [...document.querySelectorAll(".keep")];
  let current = "";

  function mark() {
    for (const button of buttons) button.classList.toggle("on", !player.paused && button.dataset.clip === current);
  }

  function hear(clip) {
    if (clip === current && !player.paused) { player.pause(); return; }
    current = clip;
    player.src = `clips/${clip}.wav`;
    player.play().catch(() => {});
  }

  for (const button of buttons) button.addEventListener("click", () => hear(button.dataset.clip));
  for (const event of ["play", "pause", "ended"]) player.addEventListener(event, mark);
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || !current || event.target.closest("input, button, a, pre")) return;
    event.preventDefault();
    hear(current);
  });

  function showCommand() {
    const kept = boxes.filter((box) => box.checked).map((box) => box.value);
    command.textContent = `${document.body.dataset.command} --keep ${kept.join(",") || "0"} --as my_bank.yaml`;
  }
  for (const box of boxes) box.addEventListener("change", showCommand);
  if (boxes.some((box) => box.checked)) showCommand();
})();
