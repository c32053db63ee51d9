//! Somebody at the console: a real browser, signed in, that clicks where a person would.

use crate::harness::{Ebbtide, LIMIT};
use ebbtide_api::Role;
use ebbtide_control::{USERS_FILE, UsersFile};
use ebbtide_testkit::{BROWSER_LIMIT, Browser, until};
use serde_json::{Value, json};

pub const PASSWORD: &str = "correct horse battery staple";

/// Somebody at the console.
#[derive(Debug)]
pub struct Desk {
    pub browser: Browser,
    pub home: String,
}

impl Desk {
    /// Signs `name` in with a role, and opens the first page.
    pub fn sign_in(ebbtide: &Ebbtide, name: &str, role: Role) -> Self {
        Self::sign_in_with(Browser::start("en"), ebbtide, name, role)
    }

    /// The same in a browser of one's own.
    pub fn sign_in_with(browser: Browser, ebbtide: &Ebbtide, name: &str, role: Role) -> Self {
        let users = UsersFile::new(ebbtide.state_dir().join(USERS_FILE));
        users.add(name, role, PASSWORD).expect("a new user");
        Self::sign_in_again(browser, ebbtide, name)
    }

    /// Signs somebody in who is known already.
    pub fn sign_in_again(browser: Browser, ebbtide: &Ebbtide, name: &str) -> Self {
        let home = format!("http://{}", ebbtide.admin);
        let desk = Self { browser, home };
        desk.sign_in_as(name, PASSWORD);
        desk.wait_for("body[data-live=true]");
        desk
    }

    /// Gives a name and a password where people sign in.
    #[track_caller]
    pub fn sign_in_as(&self, name: &str, password: &str) {
        self.browser.open(&format!("{}/sign-in?next=/", self.home));
        self.fill("#name", name);
        self.fill("#password", password);
        self.click("form button");
    }

    /// Types the password where it is asked for.
    #[track_caller]
    pub fn give_password(&self) {
        self.fill("#password", PASSWORD);
        self.click("form button");
    }

    /// Opens a page and waits until it is kept up to date.
    pub fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.home));
        self.wait_for("#pulse[data-state=live]");
    }

    /// Opens a page that is not kept up to date.
    pub fn open_still(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.home));
        self.wait_for("main");
    }

    /// What the body of a function returns in the page.
    pub fn run(&self, script: &str) -> Value {
        self.browser.run(script)
    }

    /// Whether the selector finds something that can be seen.
    pub fn has(&self, selector: &str) -> bool {
        let found = format!(
            "const found = document.querySelector({});\
             return Boolean(found && found.getClientRects().length)",
            json!(selector)
        );
        self.run(&found) == true
    }

    #[track_caller]
    pub fn wait_for(&self, selector: &str) {
        until(&format!("the page shows {selector}"), BROWSER_LIMIT, || {
            self.has(selector).then_some(())
        });
    }

    #[track_caller]
    pub fn wait_without(&self, selector: &str) {
        until(&format!("{selector} is gone"), BROWSER_LIMIT, || {
            (!self.has(selector)).then_some(())
        });
    }

    /// The text of what the selector finds.
    pub fn text(&self, selector: &str) -> String {
        let text = format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        self.run(&text).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says so.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, part: &str) {
        let mut text = String::new();
        until(&format!("{selector} says {part:?}"), BROWSER_LIMIT, || {
            text = self.text(selector);
            text.contains(part).then_some(())
        });
    }

    /// Clicks with the mouse, in the middle of what the selector finds (of its first line), once nothing lies over it.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let find = format!(
            "const found = document.querySelector({});\
             if (!found || found.disabled) return null;\
             found.scrollIntoView({{ block: 'center', inline: 'center' }});\
             const box = found.getClientRects()[0];\
             if (!box) return null;\
             const at = [box.x + box.width / 2, box.y + box.height / 2];\
             const top = document.elementFromPoint(...at);\
             return found === top || found.contains(top) ? at : null",
            json!(selector)
        );
        let at = until(&format!("{selector} can be clicked"), BROWSER_LIMIT, || {
            let at = self.run(&find);
            Some([at[0].as_f64()?, at[1].as_f64()?])
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1
            });
            self.browser.devtools("Input.dispatchMouseEvent", &event);
        }
    }

    /// Puts text into a field in place of what stands there, as by the keyboard.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.wait_for(selector);
        let focus = format!(
            "const field = document.querySelector({}); field.focus(); field.select()",
            json!(selector)
        );
        self.run(&focus);
        match text {
            "" => self.browser.press("\u{e017}"),
            text => {
                let text = json!({ "text": text });
                self.browser.devtools("Input.insertText", &text);
            }
        }
    }

    /// Chooses from a list that folds up, with the arrow keys.
    #[track_caller]
    pub fn choose(&self, selector: &str, value: &str) {
        const HOME: &str = "\u{e011}";
        const DOWN: &str = "\u{e015}";
        self.wait_for(selector);
        let list = format!("const list = document.querySelector({});", json!(selector));
        self.run(&format!("{list} list.focus()"));
        self.browser.press(HOME);
        let chosen = format!("{list} return [list.value, list.selectedIndex === list.length - 1]");
        loop {
            let chosen = self.run(&chosen);
            if chosen[0] == value {
                return;
            }
            assert_eq!(chosen[1], false, "{selector} has no {value:?}");
            self.browser.press(DOWN);
        }
    }

    /// Opens a panel by its link.
    #[track_caller]
    pub fn panel(&self, link: &str) {
        self.click(&format!("a[href=\"{link}\"]"));
        self.wait_for("dialog[open] h1");
    }

    /// Sends the panel's form, and waits until it is done.
    #[track_caller]
    pub fn send(&self) {
        // What an earlier try came to stands there until the answer to this one has come.
        self.run(
            "document.querySelectorAll('dialog [role=alert]')\
             .forEach((alert) => alert.dataset.old = 'yes')",
        );
        self.click("dialog button.main");
        until("the panel is gone", BROWSER_LIMIT, || {
            let alert = "dialog[open] [role=alert]:not([data-old])";
            assert!(!self.has(alert), "{}", self.text(alert));
            (!self.has("dialog[open]")).then_some(())
        });
    }

    /// Shows a time or a message that is only there for a moment.
    #[track_caller]
    pub fn wait_until_told(&self, part: &str) {
        self.wait_for_text("#told", part);
    }
}

/// What the newest line of the audit log says of an action.
#[track_caller]
pub fn audited(ebbtide: &Ebbtide, action: &str) -> Value {
    until(&format!("{action} is in the audit log"), LIMIT, || {
        let audit = ebbtide.cli(&["audit", "--json"]).exits(0).json();
        let lines = audit["entries"].as_array().or(audit.as_array())?.clone();
        lines.into_iter().find(|line| line["action"] == action)
    })
}
