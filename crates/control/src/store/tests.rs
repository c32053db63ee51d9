//! The store: what it gives back, what a crash leaves, what a full disk costs.

use super::*;
use ebbtide_core::{
    Actor, IntentRecord, Millis, Moment, ServerConfig, StoredIntent, StoredVerification,
};
use redb::backends::FileBackend;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A directory of a test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ebbtide-store-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn now(wall: u64) -> Now {
    Now {
        moment: Moment(1000),
        wall: WallTime(wall),
    }
}

fn web(number: u32) -> ServerName {
    ServerName::new("app", format!("web{number}"))
}

fn record(intent: StoredIntent) -> IntentRecord {
    IntentRecord {
        intent,
        since: WallTime(1_700_000_000_123),
        by: "ann".into(),
        reason: Some("new disk".into()),
        verification: None,
    }
}

fn line(action: &str) -> AuditEntry {
    AuditEntry {
        at: WallTime(5),
        actor: Actor {
            who: "ann".into(),
            from: "the UNIX socket".into(),
            reason: Some("because".into()),
        },
        action: action.into(),
        target: "app/web1".into(),
        outcome: "done".into(),
        forced: true,
    }
}

fn drain() -> StoredIntent {
    StoredIntent::Drain {
        boot: "boot-1".into(),
        moment: Moment(-5),
        wall: WallTime(1_700_000_600_000),
        within: Millis(600_000),
        message: Some("back at six".into()),
    }
}

fn every_intent() -> Vec<IntentRecord> {
    let simple = [
        StoredIntent::Ready,
        StoredIntent::Hold,
        StoredIntent::Maintenance,
    ];
    let mut intents = simple.map(record).to_vec();
    intents.push(record(drain()));
    let failed = StoredVerification::Failed("status 500".into());
    intents.extend(
        [StoredVerification::Pending, failed].map(|stored| IntentRecord {
            verification: Some(stored),
            ..record(StoredIntent::Ready)
        }),
    );
    intents
}

#[test]
fn every_kind_of_write_is_given_back() {
    let scratch = Scratch::new();
    let live = ServerConfig {
        address_text: "localhost:8080".into(),
        max_sessions: Some(9),
        public_url: None,
        ..ServerConfig::new("web5", "127.0.0.1:8080".parse().unwrap())
    };
    let set = ServerOverride {
        weight: Some(7),
        max_sessions: Some(None),
        peak_load: Some(Some(0)),
        peak_load_before: Some(None),
    };
    let secrets = TokenSecrets {
        current: [1; 32],
        previous: Some([2; 32]),
    };
    let intents = every_intent();
    let ended = |id, until| Write::EndedSession {
        id: SessionId(id),
        server: web(1),
        until: WallTime(until),
    };
    let mut writes: Vec<Write> = (1..)
        .zip(intents.clone())
        .map(|(number, intent)| Write::Intent(web(number), intent))
        .collect();
    writes.extend([
        Write::Epoch(web(2), 3),
        Write::LiveServer(web(5), live.clone()),
        Write::Override(web(3), set),
        ended(0xa, 100),
        ended(0xb, 300),
        Write::TokenSecrets(secrets.clone()),
        Write::Audit(line("hold")),
    ]);
    Store::open(&scratch.0).unwrap().write(&writes).unwrap();

    let restored = Store::open(&scratch.0).unwrap().restore(now(200)).unwrap();
    let unknown = |name| RestoredServer {
        name,
        intent: None,
        epoch: 0,
        live: None,
        set: ServerOverride::default(),
    };
    let mut expected: Vec<RestoredServer> = (1..=6).map(|n| unknown(web(n))).collect();
    for (server, intent) in expected.iter_mut().zip(intents) {
        server.intent = Some(intent);
    }
    expected[1].epoch = 3;
    expected[2].set = set;
    expected[4].live = Some(live);
    assert_eq!(restored.servers, expected);
    assert_eq!(restored.ended_sessions, [(SessionId(0xb), web(1))]);
    assert_eq!(restored.token_secrets, secrets);
    let mut store = Store::open(&scratch.0).unwrap();
    assert_eq!(store.audit(None, 10).unwrap(), [(1, line("hold"))]);
    // What had expired is gone for good.
    assert_eq!(store.restore(now(0)).unwrap().ended_sessions.len(), 1);
}

#[test]
fn of_a_server_that_was_removed_only_the_epoch_is_left() {
    let scratch = Scratch::new();
    let live = ServerConfig::new("web1", "127.0.0.1:8080".parse().unwrap());
    let set = ServerOverride {
        peak_load: Some(Some(0)),
        ..ServerOverride::default()
    };
    let mut store = Store::open(&scratch.0).unwrap();
    let writes = [
        Write::LiveServer(web(1), live),
        Write::Intent(web(1), record(StoredIntent::Hold)),
        Write::Override(web(1), set),
        Write::Epoch(web(1), 2),
    ];
    store.write(&writes).unwrap();
    store.write(&[Write::Removed(web(1))]).unwrap();
    drop(store);
    let restored = Store::open(&scratch.0).unwrap().restore(now(0)).unwrap();
    let left = RestoredServer {
        name: web(1),
        intent: None,
        epoch: 2,
        live: None,
        set: ServerOverride::default(),
    };
    assert_eq!(restored.servers, [left]);
}

#[test]
fn doors_that_were_open_are_given_back() {
    let scratch = Scratch::new();
    let door = DoorRecord {
        server: web(1),
        by: "ann".into(),
    };
    let mut store = Store::open(&scratch.0).unwrap();
    let opened = [7, 8].map(|id| Write::Door(DoorId(id), Some(door.clone())));
    store.write(&opened).unwrap();
    store.write(&[Write::Door(DoorId(8), None)]).unwrap();
    drop(store);
    let restored = Store::open(&scratch.0).unwrap().restore(now(0)).unwrap();
    assert_eq!(restored.doors, [(DoorId(7), door)]);
}

#[test]
fn token_secrets_are_made_once() {
    let scratch = Scratch::new();
    let first = Store::open(&scratch.0).unwrap().restore(now(0)).unwrap();
    let second = Store::open(&scratch.0).unwrap().restore(now(0)).unwrap();
    assert_ne!(first.token_secrets.current, [0; 32]);
    assert_eq!(first.token_secrets, second.token_secrets);
    assert_eq!((first.first_start, second.first_start), (true, false));
}

#[test]
fn the_audit_log_is_read_backwards_in_pages() {
    let scratch = Scratch::new();
    let mut store = Store::open(&scratch.0).unwrap();
    let lines: Vec<Write> = (1..=12)
        .map(|n| Write::Audit(line(&n.to_string())))
        .collect();
    store.write(&lines).unwrap();
    let mut numbers = |before| -> Vec<u64> {
        let page = store.audit(before, 5).unwrap();
        page.iter()
            .inspect(|(id, entry)| assert_eq!(entry.action, id.to_string()))
            .map(|(id, _)| *id)
            .collect()
    };
    assert_eq!(numbers(None), [12, 11, 10, 9, 8]);
    assert_eq!(numbers(Some(8)), [7, 6, 5, 4, 3]);
    assert_eq!(numbers(Some(3)), [2, 1]);
}

#[test]
fn the_audit_log_keeps_its_newest_lines() {
    let scratch = Scratch::new();
    let mut store = Store::open(&scratch.0).unwrap();
    let lines = [1, 2, 3].map(|n| Write::Audit(line(&n.to_string())));
    store.write(&lines).unwrap();
    store.audit_last = AUDIT_LINES_MAX;
    store.write(&lines[..2]).unwrap();
    let kept: Vec<u64> = store
        .audit(None, 10)
        .unwrap()
        .iter()
        .map(|row| row.0)
        .collect();
    assert_eq!(kept, [AUDIT_LINES_MAX + 2, AUDIT_LINES_MAX + 1, 3]);
}

#[test]
fn a_second_ebbtide_is_refused_while_the_first_runs() {
    let scratch = Scratch::new();
    let first = Store::open(&scratch.0).unwrap();
    let refused = Store::open(&scratch.0).err().unwrap();
    assert!(matches!(refused.kind(), StoreErrorKind::InUse), "{refused}");
    assert!(refused.to_string().contains("another Ebbtide"));
    drop(first);
    Store::open(&scratch.0).unwrap();
}

#[test]
fn a_newer_format_is_refused() {
    let scratch = Scratch::new();
    let mut store = Store::open(&scratch.0).unwrap();
    let newer = (FORMAT_KEY.to_owned(), Some("2".to_owned()));
    store.database.commit(&[newer]).unwrap();
    drop(store);
    let refused = Store::open(&scratch.0).err().unwrap();
    assert!(
        matches!(refused.kind(), StoreErrorKind::Newer(2)),
        "{refused}"
    );
}

#[test]
fn a_bad_state_directory_is_named_with_what_to_do() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let refused = Store::open(&file).err().unwrap();
    assert!(
        matches!(refused.kind(), StoreErrorKind::NotADirectory),
        "{refused}"
    );
    let below = Store::open(&file.join("below")).err().unwrap();
    assert!(
        matches!(below.kind(), StoreErrorKind::NotADirectory),
        "{below}"
    );
    let fresh = scratch.0.join("a/b");
    Store::open(&fresh).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&fresh), mode(&fresh.join(FILE))), (0o700, 0o600));
}

#[test]
fn what_is_not_a_store_or_not_understood_is_refused_by_name() {
    let scratch = Scratch::new();
    fs::write(
        scratch.0.join(FILE),
        "this is no database, however long it is",
    )
    .unwrap();
    let refused = Store::open(&scratch.0).err().unwrap();
    assert!(
        matches!(refused.kind(), StoreErrorKind::Damaged(_)),
        "{refused}"
    );
    fs::remove_file(scratch.0.join(FILE)).unwrap();
    let mut store = Store::open(&scratch.0).unwrap();
    let wrong = ("intent/app/web1".to_owned(), Some("{}".to_owned()));
    store.database.commit(&[wrong]).unwrap();
    let refused = store.restore(now(0)).unwrap_err();
    assert!(refused.to_string().contains("intent/app/web1"), "{refused}");
}

/// A file on a disk that can be made full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn on_disk(path: &Path, full: &Arc<AtomicBool>) -> Store {
    let (file, full) = (path.to_owned(), Arc::clone(full));
    let open = move || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)?;
        let full = Arc::clone(&full);
        let file = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Disk { file, full })
    };
    Store::open_on(path, open).unwrap()
}

#[test]
fn a_disk_that_was_full_costs_only_the_writes_of_that_time() {
    let scratch = Scratch::new();
    let path = scratch.0.join("full.redb");
    let full = Arc::new(AtomicBool::new(false));
    let mut store = on_disk(&path, &full);
    let intent = |number| Write::Intent(web(number), record(StoredIntent::Hold));
    store.write(&[intent(1), Write::Audit(line("1"))]).unwrap();

    full.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let refused = store.write(&[intent(2), Write::Audit(line("2"))]);
        let refused = refused.unwrap_err();
        assert!(matches!(refused.kind(), StoreErrorKind::Full), "{refused}");
        assert!(refused.to_string().contains("the disk is full"));
    }

    full.store(false, Ordering::Relaxed);
    store.write(&[intent(3), Write::Audit(line("3"))]).unwrap();
    drop(store);
    let mut store = on_disk(&path, &full);
    let names: Vec<ServerName> = store
        .restore(now(0))
        .unwrap()
        .servers
        .into_iter()
        .map(|server| server.name)
        .collect();
    assert_eq!(names, [web(1), web(3)]);
    let lines = store.audit(None, 10).unwrap();
    assert_eq!(lines, [(2, line("3")), (1, line("1"))]);
}

const CHILD: &str = "EBBTIDE_TEST_STATE_DIR";

/// The program that [`acknowledged_writes_outlive_a_kill`] kills; nothing when it is run by itself.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let mut store = Store::open(Path::new(&directory)).unwrap();
    let restored = store.restore(now(0)).unwrap().servers;
    let first = restored.first().map_or(0, |server| server.epoch);
    for epoch in first + 1.. {
        let intent = Write::Intent(web(1), record(drain()));
        let writes = [Write::Epoch(web(1), epoch), intent, Write::Audit(line("x"))];
        store.write(&writes).unwrap();
        println!("\nstored {epoch}");
    }
}

#[test]
fn acknowledged_writes_outlive_a_kill() {
    let scratch = Scratch::new();
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::child_that_writes_until_it_is_killed",
            ])
            .arg("--nocapture")
            .env(CHILD, &scratch.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stored = lines.filter_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("stored ")
                .map(|epoch| epoch.parse::<u32>().unwrap())
        });
        let mut last = stored.nth(round % 4).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = stored.last().unwrap_or(last);

        let mut store = Store::open(&scratch.0).unwrap();
        let restored = store.restore(now(0)).unwrap();
        let server = &restored.servers[0];
        assert!(server.epoch >= last, "{last} was acknowledged: {server:?}");
        assert_eq!(server.intent, Some(record(drain())));
        // All of a ticket or none of it.
        let newest = store.audit(None, 1).unwrap()[0].0;
        assert_eq!(newest, u64::from(server.epoch));
    }
}
