//! Properties of slow starts, whatever happens to the servers of a pool meanwhile.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod world;

use proptest::prelude::*;
use std::collections::BTreeMap;
use world::World;

const SLOW_START_SECONDS: u64 = 20;
const SERVERS: [&str; 3] = ["web1", "web2", "web3"];

/// What is done to a server.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Hold(usize),
    Ready(usize),
    /// Its machine has too much to do, which is not to be away.
    Busy(usize),
    Idle(usize),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        (0..3_usize).prop_map(Deed::Hold),
        (0..3_usize).prop_map(Deed::Ready),
        (0..3_usize).prop_map(Deed::Ready),
        (0..3_usize).prop_map(Deed::Busy),
        (0..3_usize).prop_map(Deed::Idle),
        (1..4_u64).prop_map(Deed::Wait),
        (1..4_u64).prop_map(Deed::Wait),
    ];
    prop::collection::vec(deed, 1..30)
}

/// What was told of a server's return.
#[derive(Default)]
struct Told {
    /// When it came back last, in seconds.
    back_at: u64,
    returning: bool,
    /// Its share was seen to grow since anything last happened to the pool.
    has_grown: bool,
    share: u8,
}

#[derive(Default)]
struct Watch {
    world: World,
    seconds: u64,
    told: BTreeMap<String, Told>,
}

impl Watch {
    fn play(&mut self, script: &str) {
        for line in self.world.play(script) {
            if let Some((server, what)) = line
                .strip_prefix("event app/")
                .and_then(|line| line.split_once(": "))
            {
                self.hear(server, what);
            }
        }
    }

    fn hear(&mut self, server: &str, what: &str) {
        if what.starts_with("standing") {
            for told in self.told.values_mut() {
                told.has_grown = false;
            }
        }
        let told = self.told.entry(server.to_owned()).or_default();
        if what.starts_with("standing held -> ") {
            told.back_at = self.seconds;
        } else if what.starts_with("standing") && what.ends_with("-> held") {
            told.returning = false;
        } else if what.starts_with("returns slowly") {
            assert!(!told.returning, "{server} was told to return twice");
            told.returning = true;
        } else if what.starts_with("gets all") {
            assert!(
                told.returning,
                "{server} has returned, and was not told to return"
            );
            let lasted = self.seconds - told.back_at;
            assert!(
                lasted >= SLOW_START_SECONDS,
                "{server} has returned after {lasted} s"
            );
            told.returning = false;
        }
    }

    /// Shares as they are shown: between two changes of standings none falls that has grown.
    fn look(&mut self) {
        for line in self.world.play("status") {
            let (server, rest) = line.split_once(": ").unwrap();
            let share = rest
                .split(" % for ")
                .next()
                .unwrap()
                .rsplit(", ")
                .next()
                .unwrap();
            let share = if rest.contains(" % for ") {
                share.parse().unwrap()
            } else {
                100
            };
            let told = self.told.entry(server.to_owned()).or_default();
            let before = std::mem::replace(&mut told.share, share);
            assert!(
                share >= before || !told.has_grown,
                "{server}: {before} % and then {share} %"
            );
            told.has_grown |= share > before;
        }
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            self.play("wait 1s");
            self.look();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_return_begins_once_and_ends_once_when_its_time_is_over(deeds in deeds()) {
        let mut watch = Watch::default();
        watch.play(&format!("start {} slow={SLOW_START_SECONDS}s load=on peak=80", SERVERS.join(" ")));
        for server in SERVERS {
            watch.play(&format!("probe app/{server} good"));
        }
        for deed in deeds {
            match deed {
                Deed::Wait(seconds) => watch.wait(seconds),
                Deed::Busy(server) => watch.play(&format!("load app/{} 95", SERVERS[server])),
                Deed::Idle(server) => watch.play(&format!("load app/{} 10", SERVERS[server])),
                Deed::Hold(server) => watch.play(&format!("hold app/{} force", SERVERS[server])),
                Deed::Ready(server) => watch.play(&format!("ready app/{}", SERVERS[server])),
            }
            watch.play("stored");
            watch.play("ack all");
        }
        for server in SERVERS {
            watch.play(&format!("load app/{server} 10"));
        }
        watch.wait(SLOW_START_SECONDS + 1);
        for (server, told) in &watch.told {
            prop_assert!(!told.returning, "{server} never returns");
        }
    }
}
