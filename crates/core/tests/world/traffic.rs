//! Users' requests, by script.

use super::World;
use ebbtide_core::{ServerName, SicknessStatus, window_at};
use std::time::Duration;

impl World {
    /// `traffic app/web1 100`: so many requests are answered, within 20 ms. With `40 fail for 5`, that
    /// many of them fail, of so many users; with `take 700 ms`, each takes so long, of six users.
    pub(super) fn traffic(&mut self, server: &str, what: &[&str]) -> Vec<String> {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let (requests, failing, users, latency) = match what {
            [requests] => (number(requests), 0, 0, 20),
            [requests, failing, "fail", "for", users] => {
                (number(requests), number(failing), number(users), 20)
            }
            [requests, "take", latency, "ms"] => (number(requests), 0, 0, number(latency)),
            other => panic!("traffic of {other:?} means nothing"),
        };
        let server = ServerName::parse(server).unwrap();
        let pool = self.published.pool_named("app").unwrap();
        let mut views = pool.servers.iter();
        let view = views.find(|view| *view.name == *server.server).unwrap();
        let slot = view.counters.slot(1);
        let window = window_at(self.now.moment, pool.config.outliers.window);
        slot.responses[1].add(requests - failing);
        slot.responses[4].add(failing);
        (0..users).for_each(|user| slot.note_failing(window, user));
        for request in 0..requests {
            if slot.note_latency(Duration::from_millis(latency)) {
                slot.note_slow(window, request % 6);
            }
        }
        Vec::new()
    }
}

/// What is wrong with a server, in the words of a transcript.
pub(super) fn sickness(sickness: &SicknessStatus) -> String {
    let held = sickness.held.map(|held| format!(", held for {held}"));
    let spared = sickness.spared.as_ref();
    let spared = spared.map(|why| format!(", not held: {why}"));
    let words = &sickness.words;
    [Some(format!(", sick: {words}")), held, spared]
        .into_iter()
        .flatten()
        .collect()
}
