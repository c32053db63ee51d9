//! What the driver makes of manifests: who serves, what is told, and how long old news is kept.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use ebbtide_core::{
    Config, CopyReason, Digest, Driver, EventKind, Fact, Identity, IdentitySource, Input,
    Knowledge, ManifestCopies, Millis, Modified, Moment, Now, Output, PoolConfig, Proof,
    ReplicaView, ResourceConfig, Restored, ServerConfig, ServerKey, ServerName, WallTime,
};
use std::sync::Arc;

struct World {
    driver: Driver,
    now: Now,
    told: Vec<String>,
}

fn pool(servers: &[&str], resources: &[&str]) -> PoolConfig {
    let mut pool = PoolConfig::new("app");
    pool.health = None;
    pool.servers = servers
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let address = ([127, 0, 0, 1], 9001 + index as u16).into();
            ServerConfig::new(*name, address)
        })
        .collect();
    pool.replicas.source = IdentitySource::Manifest;
    pool.replicas.manifest = Some("/srv/{server}.json".into());
    let resources = resources.iter().copied().map(ResourceConfig::shared);
    pool.replicas.resources = resources.collect();
    pool
}

fn copy(digest: u8, seconds: i64) -> Option<Identity> {
    Some(Identity {
        digest: Some(Digest([digest; 32])),
        modified: Some(Modified {
            seconds,
            nanoseconds: 0,
        }),
        ..Identity::of_size(1024)
    })
}

impl World {
    fn new(pool: PoolConfig) -> Self {
        let now = Now {
            moment: Moment(1_000_000),
            wall: WallTime(1_700_000_000_000),
        };
        let config = Config {
            listeners: Vec::new(),
            pools: vec![pool],
        };
        let driver = Driver::new(
            Arc::new(config),
            Restored::default(),
            Arc::default(),
            "boot".into(),
            1,
            now,
        );
        Self {
            driver,
            now,
            told: Vec::new(),
        }
    }

    fn step(&mut self, input: Input) {
        for output in self.driver.step(self.now, input) {
            if let Output::Event(event) = output
                && matches!(
                    event.kind,
                    EventKind::Copy { .. } | EventKind::Configured { .. }
                )
            {
                let server = event.server.map(|name| name.to_string());
                self.told
                    .push(format!("{} {}", server.unwrap_or_default(), event.kind));
            }
        }
    }

    fn read(&mut self, server: &str, read: Result<ManifestCopies, String>) {
        self.step(Input::ManifestRead {
            server: ServerName::new("app", server),
            place: format!("/srv/{server}.json"),
            read,
        });
    }

    fn has(&mut self, server: &str, resource: &str, copy: Option<Identity>) {
        self.read(server, Ok([(resource.to_owned(), copy)].into()));
    }

    fn wait(&mut self, span: Millis) {
        self.now.moment = self.now.moment.plus(span);
    }

    fn view(&self) -> Arc<ReplicaView> {
        Arc::clone(&self.driver.snapshot().pool_named("app").unwrap().replicas)
    }

    /// The word for each server's copy of `disk`, after `+` where it serves.
    fn stand(&self) -> Vec<String> {
        let view = self.view();
        let copies = &view.resource("disk").unwrap().copies;
        let words = copies.iter().map(|copy| {
            let sign = if copy.verdict.serves { "+" } else { "-" };
            format!("{sign}{}", copy.verdict.reason.label())
        });
        words.collect()
    }

    fn key(&self, server: &str) -> ServerKey {
        let snapshot = self.driver.snapshot();
        let servers = &snapshot.pool_named("app").unwrap().servers;
        let found = servers.iter().find(|found| &*found.name == server);
        found.unwrap().key
    }
}

#[test]
fn an_outlier_that_is_read_first_serves_nobody() {
    let mut world = World::new(pool(&["s1", "s2", "s3"], &["disk"]));
    assert_eq!(world.stand(), ["-unknown", "-unknown", "-unknown"]);
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["-waiting", "-unknown", "-unknown"]);
    world.has("s2", "disk", copy(2, 5));
    world.has("s3", "disk", copy(2, 9));
    assert_eq!(
        world.stand(),
        ["-digest-differs", "+identical", "+identical"]
    );
    assert_eq!(
        world.told[2],
        "app/s3 copy of disk unknown -> known (1,024 B, digest 020202020202, modified 9.000000000)"
    );
    let began_on = copy(2, 5).unwrap();
    let view = world.view();
    let disk = view.resource("disk").unwrap();
    assert_eq!(
        disk.may_stand_in(world.key("s3"), &began_on),
        Ok(Proof::Known)
    );
    assert!(disk.may_stand_in(world.key("s1"), &began_on).is_err());
}

#[test]
fn what_changes_is_told_and_what_stays_is_not() {
    let mut world = World::new(pool(&["s1"], &["disk"]));
    world.has("s1", "disk", copy(1, 5));
    let generation = world.driver.snapshot().generation;
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.driver.snapshot().generation, generation);
    world.has("s1", "disk", copy(2, 5));
    world.has("s1", "disk", None);
    let told: Vec<&str> = world
        .told
        .iter()
        .map(|line| line.split(" (").next().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "app/s1 copy of disk unknown -> known",
            "app/s1 copy of disk known -> known",
            "app/s1 copy of disk known -> absent",
        ]
    );
}

#[test]
fn many_changes_at_once_are_one_event() {
    let names: Vec<String> = (0..9).map(|number| format!("disk{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(pool(&["s1"], &names));
    let copies = names.iter().map(|name| {
        let is_there = *name != "disk3";
        ((*name).to_owned(), copy(1, 5).filter(|_| is_there))
    });
    world.read("s1", Ok(copies.collect()));
    assert_eq!(
        world.told,
        ["app/s1 copies of resources: 1 absent, 8 known"]
    );
}

#[test]
fn what_was_known_is_kept_for_a_while_when_the_manifest_cannot_be_read() {
    let mut world = World::new(pool(&["s1", "s2"], &["disk"]));
    world.has("s1", "disk", copy(1, 5));
    world.has("s2", "disk", copy(1, 5));
    let refused = || Err("connection refused".to_owned());
    world.wait(Millis::from_secs(600));
    world.read("s1", refused());
    assert_eq!(world.stand(), ["+identical", "+identical"]);
    world.wait(Millis(1));
    world.read("s1", refused());
    assert_eq!(world.stand(), ["-unreachable", "+alone"]);
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
}

#[test]
fn a_server_that_comes_later_keeps_nobody_waiting() {
    let mut world = World::new(pool(&["s1"], &["disk"]));
    world.has("s1", "disk", copy(1, 5));
    let mut other = pool(&["s1", "s2"], &["disk"]);
    other.servers[1].manifest = Some("/other.json".into());
    world.reload(other);
    assert_eq!(world.stand(), ["+alone", "-unknown"]);
    // News of a place that the configuration does not name any more is no news.
    world.has("s2", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["+alone", "-unknown"]);
    let moved = {
        let mut pool = pool(&["s1"], &["disk"]);
        pool.servers[0].address = ([127, 0, 0, 9], 9001).into();
        pool
    };
    world.reload(moved);
    assert_eq!(world.stand(), ["-unknown"], "another machine, another copy");
}

#[test]
fn a_resource_that_comes_later_waits_until_every_server_was_looked_at() {
    let mut world = World::new(pool(&["s1", "s2"], &["other"]));
    world.has("s1", "other", copy(1, 5));
    world.has("s2", "other", copy(1, 5));
    world.reload(pool(&["s1", "s2"], &["disk", "other"]));
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["-waiting", "-unknown"]);
    world.read("s2", Err("connection refused".into()));
    assert_eq!(world.stand(), ["+alone", "-unreachable"]);
    let view = world.view();
    let other = &view.resource("other").unwrap().copies[1];
    assert!(other.verdict.serves, "what was known is kept for a while");
}

#[test]
fn a_manifest_that_two_servers_share_is_the_first_ones() {
    let mut pool = pool(&["s1", "s2"], &["disk"]);
    pool.replicas.manifest = Some("/srv/s1.json".into());
    let mut world = World::new(pool);
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["+alone", "-unreachable"]);
}

#[test]
fn a_server_that_shows_another_size_is_not_believed_until_its_manifest_is_read_again() {
    let mut world = World::new(pool(&["s1", "s2"], &["disk"]));
    world.has("s1", "disk", copy(1, 5));
    world.has("s2", "disk", copy(1, 5));
    let snapshot = world.driver.snapshot();
    let says = |server: ServerKey, size| {
        Input::Fact(Fact::CopyContradicted {
            pool: snapshot.pools[0].key,
            server,
            resource: "disk".into(),
            size,
        })
    };
    world.step(says(world.key("s1"), 1024));
    assert_eq!(
        world.stand(),
        ["+identical", "+identical"],
        "no contradiction"
    );
    world.step(says(world.key("s1"), 1023));
    assert_eq!(world.stand(), ["-contradicted", "+alone"]);
    let view = world.view();
    let verdict = &view.resource("disk").unwrap().copies[0].verdict;
    assert_eq!(
        verdict.reason.to_string(),
        "the server shows 1,023 B, and it was known by 1,024 B"
    );
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
}

#[test]
fn copies_that_ebbtide_reads_itself_are_shown_on_the_way() {
    let mut pool = pool(&["s1", "s2"], &["disk"]);
    pool.replicas.source = IdentitySource::Read;
    let mut world = World::new(pool);
    let read = |server: &str, knowledge| Input::CopyRead {
        server: ServerName::new("app", server),
        resource: "disk".into(),
        knowledge,
    };
    world.step(read("s1", Knowledge::Reading { percent: 0 }));
    world.step(read("s2", Knowledge::Reading { percent: 0 }));
    world.step(read("s2", Knowledge::Reading { percent: 1 }));
    assert_eq!(world.stand(), ["+first-of-file", "-reading"]);
    assert_eq!(world.told.len(), 2, "getting on is no event");
    let whole = Knowledge::Known(copy(1, 5).unwrap());
    world.step(read("s2", whole.clone()));
    assert_eq!(world.stand(), ["-reading", "+alone"]);
    world.step(read("s1", whole));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
}

#[test]
fn answers_tell_where_the_configuration_says_so() {
    let mut pool = pool(&["s1", "s2"], &["disk"]);
    pool.replicas.source = IdentitySource::Headers;
    let world = World::new(pool);
    assert_eq!(world.stand(), ["+by-answer", "+by-answer"]);
    let view = world.view();
    let disk = view.resource("disk").unwrap();
    let began_on = Identity::of_size(7);
    let judged = disk.may_stand_in(world.key("s2"), &began_on);
    assert_eq!(judged, Ok(Proof::ByAnswer));
    assert_eq!(view.manifests, [], "nobody needs them");
    let gone = disk.may_stand_in(ServerKey(77), &began_on);
    assert_eq!(gone, Err(CopyReason::NoServer));
}

impl World {
    fn reload(&mut self, pool: PoolConfig) {
        let config = Config {
            listeners: Vec::new(),
            pools: vec![pool],
        };
        let command = ebbtide_core::Command::Reload {
            config: Arc::new(config),
            beside: Vec::new(),
        };
        let input = Input::Command {
            id: ebbtide_core::RequestId(1),
            actor: ebbtide_core::Actor::ebbtide(),
            command,
        };
        for output in self.driver.step(self.now, input) {
            if let Output::Persist { ticket, .. } = output {
                let result = Ok(());
                self.step(Input::Persisted { ticket, result });
            }
        }
    }
}
