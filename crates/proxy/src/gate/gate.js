// Times in the reader's own zone, and onwards as soon as the way in is open.
(function () {
  "use strict";
  var script = document.currentScript;
  var gate = script.dataset.gate || script.src.replace(/\.js(\?.*)?$/, "");
  var language = document.documentElement.lang || undefined;
  var form = { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  var times = document.querySelectorAll("time[datetime]");
  for (var i = 0; i < times.length; i++) {
    try {
      var at = new Date(times[i].getAttribute("datetime"));
      times[i].textContent = new Intl.DateTimeFormat(language, form).format(at);
    } catch (error) {
      // What stands there is right too.
    }
  }
  var known = null;
  var timer = 0;
  function goOn() {
    var link = document.querySelector("[data-go-on]");
    if (script.dataset.again === "no" && link) {
      link.href = location.href;
      link.hidden = false;
      link.focus();
    } else {
      location.reload();
    }
  }
  function ask() {
    clearTimeout(timer);
    fetch(gate, { cache: "no-store", credentials: "same-origin" })
      .then(function (answer) {
        if (!answer.ok) throw new Error(String(answer.status));
        return answer.text();
      })
      .then(function (text) {
        var state = JSON.parse(text);
        if (state.open) return goOn();
        text = [state.state, state.message, state.expected_end].join("\n");
        if (known !== null && known !== text && script.dataset.again !== "no") return location.reload();
        known = text;
        later();
      })
      .catch(later);
  }
  // Spread, so that those who wait do not all come at once.
  function later() {
    timer = setTimeout(ask, 3000 + Math.random() * 4000);
  }
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) ask();
  });
  later();
})();
