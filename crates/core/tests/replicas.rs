//! What the driver makes of manifests: who serves, what is told, and how long old news is kept.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use ebbtide_core::{
    Close, Command, Config, CopyReason, Digest, Driver, EventKind, Fact, HealthSettings, Identity,
    IdentitySource, Input, Knowledge, ManifestCopies, Millis, Mode, Modified, Moment, Now, Output,
    PoolConfig, ProbeOutcome, Proof, ReplicaView, ResourceConfig, Restored, ServerConfig,
    ServerKey, ServerName, WallTime,
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

    /// The number of the reading of `disk` that counts.
    fn reading(&self, server: &str) -> Option<u64> {
        let view = self.view();
        let mut readings = view.readings.iter();
        let found = readings.find(|reading| &*reading.server == server);
        found.map(|reading| reading.number)
    }

    fn news(&mut self, server: &str, reading: u64, knowledge: Knowledge) {
        self.step(Input::CopyRead {
            server: ServerName::new("app", server),
            resource: "disk".into(),
            reading,
            knowledge,
        });
    }

    fn has_read(&mut self, server: &str, knowledge: Knowledge) {
        if let Some(reading) = self.reading(server) {
            self.news(server, reading, knowledge);
        }
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
fn a_copy_that_was_written_is_not_known_until_there_is_another_manifest() {
    let mut world = World::new(pool(&["s1", "s2"], &["disk"]));
    let written = |world: &mut World| {
        let (pool, server) = (world.driver.snapshot().pools[0].key, world.key("s1"));
        let resource = "disk".into();
        world.step(Input::Fact(Fact::CopyWritten {
            pool,
            server,
            resource,
        }));
    };
    world.has("s1", "disk", copy(1, 5));
    world.has("s2", "disk", copy(1, 5));
    written(&mut world);
    assert_eq!(world.stand(), ["-unreachable", "+alone"]);
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["-unreachable", "+alone"], "the old one");
    written(&mut world);
    world.has("s1", "disk", copy(2, 6));
    world.has("s2", "disk", copy(2, 6));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
    // What was written before anything was known of it is not what the next manifest says.
    let mut world = World::new(pool(&["s1", "s2"], &["disk"]));
    written(&mut world);
    world.has("s2", "disk", copy(1, 5));
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(world.stand(), ["-unreachable", "+alone"]);
    world.has("s1", "disk", copy(1, 7));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
}

/// A pool whose copies Ebbtide reads itself.
fn pool_to_read(servers: &[&str]) -> PoolConfig {
    let mut pool = pool(servers, &["disk"]);
    pool.replicas.source = IdentitySource::Read;
    pool.replicas.manifest = None;
    pool
}

fn whole(digest: u8) -> Knowledge {
    Knowledge::Known(copy(digest, 5).unwrap())
}

/// Two servers with the same disk, which was read.
fn two_that_were_read() -> World {
    let mut pool = pool_to_read(&["s1", "s2"]);
    pool.health = Some(HealthSettings::defaults());
    let mut world = World::new(pool);
    world.has_read("s1", whole(1));
    world.has_read("s2", whole(1));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
    world
}

#[test]
fn copies_that_ebbtide_reads_itself_are_shown_on_the_way() {
    let mut world = World::new(pool_to_read(&["s1", "s2"]));
    world.has_read("s1", Knowledge::Reading { percent: 0 });
    world.has_read("s2", Knowledge::Reading { percent: 0 });
    world.has_read("s2", Knowledge::Reading { percent: 1 });
    assert_eq!(world.stand(), ["+first-of-file", "-reading"]);
    assert_eq!(world.told.len(), 2, "getting on is no event");
    world.has_read("s2", whole(1));
    assert_eq!(world.stand(), ["-reading", "+alone"]);
    world.has_read("s1", whole(1));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
}

/// What a client is kept with that began on the first server's copy while that was watched so.
fn kept(world: &World, watch: u64, size: u64) -> Option<Identity> {
    let view = world.view();
    let disk = view.resource("disk").unwrap();
    disk.to_keep_since(world.key("s1"), watch, size).cloned()
}

/// The watch over the first server's copy.
fn watch(world: &World) -> Option<u64> {
    world.view().resource("disk").unwrap().copies[0].watch
}

#[test]
fn who_began_while_a_copy_was_read_is_kept_with_what_was_read() {
    let mut world = World::new(pool_to_read(&["s1", "s2"]));
    assert_eq!(watch(&world), None, "nobody has looked");
    world.has_read("s1", Knowledge::Reading { percent: 0 });
    world.has_read("s2", Knowledge::Reading { percent: 0 });
    let began = watch(&world).unwrap();
    world.has_read("s1", Knowledge::Reading { percent: 50 });
    assert_eq!(kept(&world, began, 1024), None, "it is not known yet");
    world.has_read("s1", whole(1));
    assert_eq!(kept(&world, began, 1024), copy(1, 5));
    assert_eq!(kept(&world, began, 1025), None, "of another size");
    // The server broke off, and came back: nobody knows which of the two a client is served by.
    let lost = Knowledge::Unreachable { why: "lost".into() };
    world.has_read("s1", lost);
    assert_eq!((watch(&world), kept(&world, began, 1024)), (None, None));
    world.has_read("s1", Knowledge::Reading { percent: 0 });
    world.has_read("s1", whole(1));
    assert_eq!(kept(&world, began, 1024), None);
    let again = watch(&world).unwrap();
    assert_eq!(kept(&world, again, 1024), copy(1, 5));
}

#[test]
fn a_watch_ends_with_all_that_makes_a_reading_void() {
    let address = {
        let mut pool = pool_to_read(&["s1", "s2"]);
        pool.servers[0].address = ([127, 0, 0, 9], 9001).into();
        pool
    };
    let mut away = pool_to_read(&["s1", "s2"]);
    away.replicas.resources[0].mode = Mode::Maintenance;
    for other in [address, away] {
        let mut world = World::new(pool_to_read(&["s1", "s2"]));
        world.has_read("s1", Knowledge::Reading { percent: 0 });
        let began = watch(&world).unwrap();
        world.reload(other);
        world.reload(pool_to_read(&["s1", "s2"]));
        world.has_read("s1", Knowledge::Reading { percent: 0 });
        world.has_read("s2", whole(1));
        world.has_read("s1", whole(1));
        assert_eq!(world.stand(), ["+identical", "+identical"]);
        assert_eq!(kept(&world, began, 1024), None);
    }
    // What manifests say may be of before a client began.
    let mut world = World::new(pool(&["s1"], &["disk"]));
    world.has("s1", "disk", copy(1, 5));
    assert_eq!(watch(&world), None);
}

fn probed(server: &str, outcome: ProbeOutcome) -> Input {
    Input::Probed {
        server: ServerName::new("app", server),
        outcome,
        admitted: 0,
        began: Moment(0),
    }
}

#[test]
fn what_was_read_of_a_server_is_void_once_it_may_have_been_changed() {
    let probed = |outcome| probed("s1", outcome);
    type Step = Box<dyn Fn(&mut World)>;
    let command = |command: Command| -> Step { Box::new(move |world| world.ask(command.clone())) };
    let server = || ServerName::new("app", "s1");
    let cases: [(&str, Step, Step); 3] = [
        (
            "it is down",
            Box::new(move |world| {
                for _ in 0..3 {
                    world.step(probed(ProbeOutcome::Bad("no".into())));
                }
            }),
            Box::new(move |world| {
                for _ in 0..2 {
                    world.step(probed(ProbeOutcome::Good { places: None }));
                }
                world.step(Input::Tick);
            }),
        ),
        (
            "it is in maintenance",
            command(Command::Maintenance {
                server: server(),
                force: true,
            }),
            command(Command::Ready {
                server: server(),
                force: true,
            }),
        ),
        (
            "its pool is closed",
            command(Command::Close {
                pool: "app".into(),
                close: Close {
                    within: Some(Millis(0)),
                    ..Close::default()
                },
            }),
            command(Command::Open { pool: "app".into() }),
        ),
    ];
    for (why, away, back) in cases {
        let mut world = two_that_were_read();
        world.step(probed(ProbeOutcome::Good { places: None }));
        let before = world.reading("s1").unwrap();
        away(&mut world);
        world.step(Input::Tick);
        assert_eq!(world.reading("s1"), None, "{why}");
        let view = world.view();
        let reason = view.resource("disk").unwrap().copies[0].verdict.clone();
        assert!(reason.reason.to_string().contains(why), "{reason:?}");
        assert!(!reason.serves && !reason.stands_in, "{why}");
        // What comes late is void, now and when the server is back.
        world.news("s1", before, whole(1));
        assert_eq!(world.stand()[0], "-unreachable", "{why}");
        back(&mut world);
        world.news("s1", before, whole(1));
        assert_eq!(world.stand()[0], "-unknown", "{why}");
        let after = world.reading("s1").unwrap();
        assert_ne!(after, before, "{why}: it is read again");
        world.has_read("s1", whole(2));
        world.has_read("s2", whole(1));
        assert_eq!(world.stand()[1], "-digest-differs", "{why}");
    }
}

#[test]
fn a_hold_and_another_rate_leave_what_was_read_as_it_is() {
    let mut world = two_that_were_read();
    let server = || ServerName::new("app", "s1");
    let reading = world.reading("s1");
    world.ask(Command::Hold {
        server: server(),
        force: true,
    });
    world.ask(Command::Ready {
        server: server(),
        force: true,
    });
    let mut faster = pool_to_read(&["s1", "s2"]);
    faster.health = Some(HealthSettings::defaults());
    faster.replicas.read_bytes_per_second = 1;
    world.reload(faster);
    assert_eq!(world.stand(), ["+identical", "+identical"]);
    assert_eq!(world.reading("s1"), reading);
}

#[test]
fn a_server_that_moved_or_was_private_meanwhile_is_read_again() {
    let before = pool_to_read(&["s1", "s2"]);
    let moved = {
        let mut pool = before.clone();
        pool.servers[0].address = ([127, 0, 0, 9], 9001).into();
        pool
    };
    let private = {
        let mut pool = before.clone();
        pool.replicas.resources[0].mode = Mode::Private;
        pool.replicas.resources[0].server = Some("s1".into());
        pool
    };
    for (between, knows_second) in [(moved, true), (private, false)] {
        let mut world = World::new(before.clone());
        world.has_read("s1", whole(1));
        world.has_read("s2", whole(1));
        let readings = (world.reading("s1"), world.reading("s2"));
        world.reload(between);
        world.reload(before.clone());
        assert_eq!(world.stand()[0], "-unknown");
        assert_ne!(world.reading("s1"), readings.0);
        assert_eq!(world.reading("s2") == readings.1, knows_second);
    }
}

#[test]
fn a_copy_that_shows_another_size_is_read_again() {
    let mut world = two_that_were_read();
    let reading = world.reading("s1").unwrap();
    let pool = world.driver.snapshot().pools[0].key;
    world.step(Input::Fact(Fact::CopyContradicted {
        pool,
        server: world.key("s1"),
        resource: "disk".into(),
        size: 1023,
    }));
    assert_eq!(world.stand(), ["-contradicted", "+alone"]);
    world.news("s1", reading, whole(1));
    assert_eq!(world.stand(), ["-contradicted", "+alone"]);
    world.has_read("s1", whole(1));
    assert_eq!(world.stand(), ["+identical", "+identical"]);
}

#[test]
fn only_what_is_compared_is_read() {
    let mut pool = pool_to_read(&["s1", "s2"]);
    let mut resource = |name: &str, mode, balance| {
        pool.replicas.resources.push(ResourceConfig {
            mode,
            balance,
            server: Some("s1".into()),
            ..ResourceConfig::shared(name)
        });
    };
    resource("home", Mode::Private, true);
    resource("new", Mode::Maintenance, true);
    resource("one", Mode::Shared, false);
    let world = World::new(pool);
    let view = world.view();
    let read: Vec<(&str, &str)> = view
        .readings
        .iter()
        .map(|reading| (&*reading.server, reading.resource.as_str()))
        .collect();
    assert_eq!(read, [("s1", "disk"), ("s2", "disk")]);
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
        self.ask(Command::Reload {
            config: Arc::new(config),
            beside: Vec::new(),
        });
    }

    fn ask(&mut self, command: Command) {
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
