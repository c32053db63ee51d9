//! What operators say to single users.

use super::*;

impl World {
    /// What the user of a session is told now.
    pub(super) fn read(&self, id: &str) -> String {
        let Found::Live(found) = self.sessions.find(session(id)) else {
            return "not live".into();
        };
        let message = found.message(self.now.moment);
        let text = message.map_or("nothing".into(), |message| message.text.clone());
        let kept = if found.has_message() {
            ""
        } else {
            " (none is kept)"
        };
        format!("{}{kept}", text.escape_debug())
    }

    /// The user of a session has read the message that stands, or else the one before the first.
    pub(super) fn dismiss(&self, id: &str) -> Vec<String> {
        if let Found::Live(found) = self.sessions.find(session(id)) {
            let message = found.message(self.now.moment);
            found.dismiss_message(message.map_or(WallTime(0), |message| message.at));
        }
        Vec::new()
    }
}
