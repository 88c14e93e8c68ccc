// Loaded after KaTeX, and only on pages with formulas.
(function () {
  "use strict";
  var math = [
    { left: "\\[", right: "\\]", display: true },
    { left: "\\(", right: "\\)", display: false },
  ];
  document.querySelectorAll(".arithmatex").forEach(function (element) {
    window.renderMathInElement(element, { delimiters: math, throwOnError: false });
  });
  document.querySelectorAll(".jp-RenderedMarkdown").forEach(function (element) {
    window.renderMathInElement(element, {
      delimiters: [
        { left: "$$", right: "$$", display: true },
        { left: "$", right: "$", display: false },
      ],
      throwOnError: false,
    });
  });
  document.dispatchEvent(new Event("vlm-history:rendered"));
})();
