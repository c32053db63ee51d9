//! What users will see, before they do: the preview says what their own windows say then.

use super::desk::Desk;
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{BROWSER_LIMIT, Browser, Scratch, until};

const MESSAGE: &str = "Upgrade <b>tonight</b>.";

/// The text without its figures, which run on from the preview to the notice.
fn figureless(text: &str) -> String {
    let mut last = ' ';
    let mut kept = String::new();
    for letter in text.chars() {
        let letter = match letter {
            '0'..='9' => '#',
            '\u{202f}' | '\u{a0}' => ' ',
            other => other,
        };
        if letter != '#' || last != '#' {
            kept.push(letter);
        }
        last = letter;
    }
    kept.replace("AM", "PM")
}

#[test]
fn the_preview_says_what_users_see_then() {
    let scratch = Scratch::new();
    let servers = models(1, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    let user = Browser::start("en");
    user.open(&format!("http://{}/", ebbtide.address));
    desk.panel("/do/close?pool=app");
    desk.fill("#p-within", "2h 30m");
    desk.fill("#p-lasting", "1h");
    desk.fill("#p-message", MESSAGE);
    desk.wait_for_text("#foretold .as-bar", "2 hr 30 min");
    desk.wait_for_text("#foretold [data-say=more]", "Expected to open again");
    let places = ["left", "end", "title", "what", "more"];
    let foretold = places.map(|place| desk.text(&format!("#foretold [data-say={place}]")));
    desk.send();

    let told = |id: &str| {
        let text = user.inside(id, "function () { return this.textContent }");
        text.and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    // A page of the application's that has the line of the documentation.
    user.run(
        "const script = document.createElement('script'); script.src = '/.ebbtide/notice.js';\
         document.head.append(script)",
    );
    until("the user is told", BROWSER_LIMIT, || {
        (told("message") == MESSAGE).then_some(())
    });
    let [left, end, title, what, more] = foretold.map(|text| figureless(&text));
    assert_eq!(figureless(&told("left")), left);
    assert_eq!(figureless(&told("end")), end);
    assert_eq!((told("title"), told("what")), (title, what));
    let all = figureless(&user.told());
    assert!(all.contains(&more), "{more:?} in {all}");
}
