//! A real browser: headless Chromium, driven over WebDriver.
//!
//! What a page shows is read from the accessibility tree, which is what a screen reader gets: it
//! holds closed shadow roots too, so that nothing has to be opened for the sake of a test.

use crate::place::Scratch;
use crate::wait::until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A browser on a busy machine takes its time; no test waits for this unless something is wrong.
pub const BROWSER_LIMIT: Duration = Duration::from_secs(90);

/// A running browser with one window; it dies with this value.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: Scratch,
}

impl Browser {
    /// Starts a browser whose user reads these languages (`"de-AT,de"`).
    pub fn start(languages: &str) -> Self {
        Self::start_with(languages, &json!({}))
    }

    /// The same for somebody who has switched scripts off. Those of the test run all the same.
    pub fn start_without_scripts(languages: &str) -> Self {
        const BLOCKED: u32 = 2;
        let scripts = "profile.managed_default_content_settings.javascript";
        Self::start_with(languages, &json!({ scripts: BLOCKED }))
    }

    fn start_with(languages: &str, preferences: &Value) -> Self {
        let profile = Scratch::new();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: `cargo xtask test` does that");
        let output = driver.stdout.take().expect("its output is a pipe");
        let port = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let port = line.split("started successfully on port ").nth(1)?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says on which port it listens");
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let language = format!("--accept-lang={languages}");
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // Pictures show what comes, and not how it comes.
            "--force-prefers-reduced-motion",
            "--window-size=1000,700",
            folder,
            language,
        ]);
        let wish = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
        } } });
        let begun = browser.ask("POST", "/session", &wish);
        browser.session = begun["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&self, url: &str) {
        self.command("POST", "url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page; what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "execute/sync",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// Presses a key: a letter, or one of WebDriver's (`"\u{e00c}"` is Escape).
    pub fn press(&self, key: &str) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        self.command("POST", "actions", &actions);
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, method: &str, parameters: &Value) -> Value {
        let command = json!({ "cmd": method, "params": parameters });
        self.command("POST", "goog/cdp/execute", &command)
    }

    /// Shows pages as on a phone.
    pub fn be_a_phone(&self) {
        let phone = json!({ "width": 390, "height": 700, "deviceScaleFactor": 1, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &phone);
    }

    /// Shows pages as for somebody whose settings say so: `"prefers-color-scheme"` is `"dark"`,
    /// `"forced-colors"` are `"active"`.
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Has the user read other languages from the next page on.
    pub fn speak(&self, languages: &str) {
        let agent = self.run("return navigator.userAgent");
        let languages = json!({ "userAgent": agent, "acceptLanguage": languages });
        self.devtools("Emulation.setUserAgentOverride", &languages);
    }

    /// What `function` returns, called on the first element with this `id`, be it in a shadow root or
    /// in a frame. `None` if there is none.
    pub fn inside(&self, id: &str, function: &str) -> Option<Value> {
        let all = json!({ "depth": -1, "pierce": true });
        let document = self.devtools("DOM.getDocument", &all);
        let node = json!({ "backendNodeId": node_of(&document["root"], id)? });
        let object = self.devtools("DOM.resolveNode", &node);
        let call = json!({
            "objectId": object["object"]["objectId"],
            "functionDeclaration": function,
            "returnByValue": true,
        });
        let called = self.devtools("Runtime.callFunctionOn", &call);
        Some(called["result"]["value"].clone())
    }

    /// What a screen reader can tell of the page and its frames: `role: name`, a line each.
    pub fn told(&self) -> String {
        let frames = self.devtools("Page.getFrameTree", &json!({}));
        self.told_of(&frames["frameTree"])
    }

    fn told_of(&self, frames: &Value) -> String {
        let frame = json!({ "frameId": frames["frame"]["id"] });
        let tree = self.devtools("Accessibility.getFullAXTree", &frame);
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        let lines = nodes.iter().filter(|node| node["ignored"] == false);
        let line = |node: &Value| {
            let text = |of: &str| node[of]["value"].as_str().unwrap_or_default().to_owned();
            format!("{}: {}\n", text("role"), text("name"))
        };
        let below = frames["childFrames"].as_array().into_iter().flatten();
        let below = below.map(|below| self.told_of(below));
        lines.map(line).chain(below).collect()
    }

    /// Waits until a screen reader can tell all of this; what it tells then.
    #[track_caller]
    pub fn wait_for(&self, parts: &[&str]) -> String {
        let mut told = String::new();
        until(&format!("the page tells {parts:?}"), BROWSER_LIMIT, || {
            told = self.told();
            parts.iter().all(|part| told.contains(part)).then_some(())
        });
        told
    }

    /// Waits until a screen reader can tell nothing of this any more.
    #[track_caller]
    pub fn wait_without(&self, part: &str) {
        until(
            &format!("the page tells {part:?} no more"),
            BROWSER_LIMIT,
            || (!self.told().contains(part)).then_some(()),
        );
    }

    /// Saves a picture of the window.
    pub fn picture(&self, path: &Path) {
        let text = self.command("GET", "screenshot", &Value::Null);
        let bytes = base64(text.as_str().expect("a picture"));
        std::fs::write(path, bytes).expect("the picture can be written");
    }

    fn command(&self, method: &str, name: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}/{name}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver runs");
        let limit = Some(BROWSER_LIMIT);
        stream.set_read_timeout(limit).expect("a limit");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).expect("an answer in time");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut bytes = vec![0; length];
        answer.read_exact(&mut bytes).expect("a whole answer");
        let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, whose parent is the driver; then the driver can go. A test that fails must
        // not leave its browser behind, nor fail in here a second time.
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            let end = AssertUnwindSafe(|| self.ask("DELETE", &path, &Value::Null));
            let _ = catch_unwind(end);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The number of the first element with this `id`, at or below `node`.
fn node_of(node: &Value, id: &str) -> Option<u64> {
    let names = node["attributes"].as_array();
    let is_it = names.is_some_and(|names| {
        let mut pairs = names.chunks(2);
        pairs.any(|pair| pair[0] == "id" && pair[1] == id)
    });
    if is_it {
        return node["backendNodeId"].as_u64();
    }
    let lists = ["shadowRoots", "children"].map(|name| node[name].as_array());
    let mut below = lists.into_iter().flatten().flatten();
    let found = below.find_map(|below| node_of(below, id));
    found.or_else(|| node_of(node.get("contentDocument")?, id))
}

/// Decodes base64 (RFC 4648, 4).
fn base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
