// Plays an event of a table, from its start to its end, with the player on the same page or in the same widget.

window.esc50Play = (button) => {
  const player = button.closest(".esc50-widget, .gradio-container").querySelector("audio.esc50, .esc50-widget audio");
  const { start, end } = button.dataset;
  const forget = () => cancelAnimationFrame(player.esc50Frame);
  const watch = () => {
    player.esc50Frame = requestAnimationFrame(watch);
    if (player.currentTime >= end) player.pause();
  };
  forget();
  player.currentTime = start;
  player.onpause = forget;
  player.onseeking = () => Math.abs(player.currentTime - start) > 0.05 && forget(); // by hand: what follows plays on
  player.play().catch(() => {}); // another sound has come
  watch();
};
