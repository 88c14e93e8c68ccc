// What scrolls sideways can be reached from the keyboard, and what does not is not a stop on the way.
(function () {
  "use strict";
  var selector =
    ".output pre, .output code, .output .scroll, .highlight pre, .highlight code, .katex-display, .md-typeset__table, " +
    ".md-typeset__scrollwrap, .exam, .jp-RenderedText pre, .jp-OutputArea-output, .history";
  function mark() {
    document.querySelectorAll(selector).forEach(function (element) {
      if (element.scrollWidth > element.clientWidth + 1) {
        element.tabIndex = 0;
      } else if (element.getAttribute("tabindex") === "0") {
        element.removeAttribute("tabindex");
      }
    });
  }
  var waiting;
  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(mark, 150);
  }
  window.addEventListener("load", mark);
  window.addEventListener("resize", soon);
  document.addEventListener("vlm-history:rendered", mark);
  document.addEventListener("toggle", soon, true);
})();
