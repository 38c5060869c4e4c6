"""The script that draws a line at the playback position over every figure of a recording; the page and the report share it."""

from __future__ import annotations

PLAYBACK_SCRIPT = """
// A line over each Plotly figure inside `selector`, where the playing sound is. Returns what stops it.
function followPlayback(selector, offset) {
  let frame = 0, last = null;
  const plots = () => [...document.querySelectorAll(selector)].filter((plot) => plot._fullLayout && plot._fullLayout.xaxis);
  const draw = () => {
    frame = requestAnimationFrame(draw);
    const sounds = [...document.querySelectorAll("audio")];
    const playing = sounds.find((sound) => !sound.paused && sound !== last) || sounds.find((sound) => !sound.paused);
    if (playing && playing !== last) {  // one sound at a time
      sounds.filter((sound) => sound !== playing).forEach((sound) => sound.pause());
      last = playing;
    }
    if (!last || !last.isConnected) last = playing || null;
    for (const plot of plots()) {
      let line = plot.querySelector(":scope > .playback-line");
      if (!last) { if (line) line.remove(); continue; }
      if (!line) {
        line = document.createElement("div");
        line.className = "playback-line";
        line.setAttribute("aria-hidden", "true");
        line.style.cssText = "position:absolute;width:2px;background:#00B3A4;pointer-events:none;z-index:5;";
        plot.style.position = "relative";
        plot.appendChild(line);
      }
      const layout = plot._fullLayout, axis = layout.xaxis, x = axis.l2p(offset + last.currentTime);
      const seen = x >= 0 && x <= axis._length && last.currentTime > 0;
      line.style.display = seen ? "block" : "none";
      line.style.left = (layout._size.l + x - 1) + "px";
      line.style.top = layout._size.t + "px";
      line.style.height = layout._size.h + "px";
    }
  };
  draw();
  return () => {
    cancelAnimationFrame(frame);
    document.querySelectorAll(".playback-line").forEach((line) => line.remove());
  };
}
"""
