//! Pools that lead their users to the servers themselves, and pass nothing on.

use super::Exchange;
use crate::connection::Next;
use crate::pages::{self, Page};

impl Exchange<'_> {
    /// Leads the user, or the holder of a door, to the server's own address. The token goes along, so
    /// that whoever comes back is led to the same server.
    pub(super) async fn lead_away(&mut self) -> Next {
        let server = &self.routes.pool.servers[self.index()];
        let Some(url) = server.public_url.clone() else {
            return self.give_page(Page::Unavailable).await;
        };
        let buf = self.scratch.inbound.held();
        let head = &self.scratch.request;
        let location = location(&url, head.target.of(buf));
        // Other methods, and their bodies, go there as they are (RFC 9110, 15.4.8).
        let status = match head.method.of(buf) {
            b"GET" | b"HEAD" => 302,
            _ => 307,
        };
        let mut fields = format!("Location: {location}\r\n");
        if self.prepare_cookie(status) {
            let cookie = String::from_utf8_lossy(&self.scratch.cookie);
            fields += &format!("Set-Cookie: {cookie}\r\n");
        }
        if let Some(ends) = self.session_ends() {
            fields += &format!("{}: {ends}\r\n", ebbtide_protocol::http1::SESSION_ENDS);
        }
        self.answered = true;
        self.slot().redirects.add(1);
        let envelope = self.envelope();
        let plain = ("text/plain; charset=utf-8", fields.as_str());
        let text = "You are led to your server.\n";
        let out = &mut self.scratch.to_client.bytes;
        self.report.status = status;
        self.report.bytes = pages::write_answer(out, status, plain, text, envelope) as u64;
        self.send_own().await
    }
}

/// Where a request for this target is led. The address has no `/` at its end and one follows it
/// whatever the request says, so that nothing of a request becomes part of the host; that the target
/// has no control characters is what the reader of heads sees to.
fn location(url: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    match target.as_bytes().first() {
        Some(b'/') => format!("{url}{target}"),
        Some(b'?') => format!("{url}/{target}"),
        // Of the server as a whole (`OPTIONS *`), or nothing after the host.
        _ => format!("{url}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_never_chooses_the_host() {
        for (target, expected) in [
            ("/a/b?c=d&e", "https://web1.example/app/a/b?c=d&e"),
            ("//evil.example/", "https://web1.example/app//evil.example/"),
            ("/\\evil.example", "https://web1.example/app/\\evil.example"),
            ("?q=1", "https://web1.example/app/?q=1"),
            ("", "https://web1.example/app/"),
            ("*", "https://web1.example/app/"),
            (
                "/%0d%0aSet-Cookie:x",
                "https://web1.example/app/%0d%0aSet-Cookie:x",
            ),
            (".evil.example/", "https://web1.example/app/"),
            ("@evil.example/", "https://web1.example/app/"),
        ] {
            let led = location("https://web1.example/app", target.as_bytes());
            assert_eq!(led, expected, "{target:?}");
        }
    }
}
