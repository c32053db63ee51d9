//! Doors: an operator's own way in to a server that is closed to users.
//!
//! A door is kept in memory only, in one table that the driver and the workers hold together. It is
//! opened and closed by the driver; workers find it by what a browser shows. It ends by time, by the
//! operator, or with the program. Its holder is no user: a door counts nowhere as a session.

use crate::name::{PoolKey, ServerKey};
use crate::time::{Millis, Moment, Now, WallTime};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most doors that are open at the same time: each is one operator at work.
pub const DOORS_MAX: usize = 100;
/// Doors that are over are known for so long, so that whoever comes late is told that they are.
const KNOWN_AFTER: Millis = Millis::from_secs(3600);
/// Most doors that are known, open or over; beyond it the oldest that are over are forgotten.
const KNOWN_MAX: usize = 1000;
/// The audit log tells of each door from how many addresses at most it was entered.
const ADDRESSES_MAX: usize = 16;

/// A door's number: what operators name it by. It opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DoorId(pub u64);

impl fmt::Display for DoorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl DoorId {
    /// The number that is written so.
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        let is_one = text.len() == 16 && text.bytes().all(digits);
        let number = u64::from_str_radix(text, 16).ok()?;
        is_one.then_some(Self(number))
    }
}

/// 128 bits that nobody can guess. Never printed.
#[derive(Clone, Copy)]
pub struct DoorSecret(pub [u8; 16]);

impl fmt::Debug for DoorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DoorSecret")
    }
}

impl DoorSecret {
    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares all of it, so that the time taken tells nothing.
    fn is_written(&self, text: &[u8]) -> bool {
        let own = self.text();
        let difference = own.bytes().zip(text).fold(0, |sum, (a, b)| sum | (a ^ b));
        own.len() == text.len() && difference == 0
    }
}

/// What a door is opened with; numbers and secrets come from the shell's source of randomness.
#[derive(Clone, Copy, Debug)]
pub struct DoorKeys {
    /// The door's number.
    pub id: DoorId,
    /// Opens the door: of an HTTP pool once, of an NBD pool as long as it is open.
    pub entry: DoorSecret,
    /// Is shown by the browser that has entered.
    pub cookie: DoorSecret,
    /// Is in the forms of the door's own page.
    pub form: DoorSecret,
}

impl DoorKeys {
    /// The key, as it stands in the address.
    pub fn entry_text(&self) -> String {
        format!("{}{}", self.id, self.entry.text())
    }
}

/// A password with its user name, as servers are sent them. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Arc<str>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Basic authentication (RFC 7617): `user` has no colon.
    pub fn basic(user: &str, password: &str) -> Self {
        let pair = format!("{user}:{password}");
        Self(format!("Basic {}", base64(pair.as_bytes())).into())
    }

    /// The value of `Authorization`.
    pub fn value(&self) -> &str {
        &self.0
    }
}

/// The ordinary alphabet with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let byte = |index: usize| piece.get(index).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(match place <= piece.len() {
                true => char::from(ALPHABET[index]),
                false => '=',
            });
        }
    }
    text
}

/// What servers are sent of who comes through a door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DoorCredentials {
    /// Nothing of ours: the browser's own `Authorization` passes.
    #[default]
    None,
    /// What the door's holder was asked for.
    Ask,
    /// The pool's own.
    Default(Credentials),
}

/// A pool's doors, as the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorSettings {
    /// What servers are sent of who comes through a door.
    pub credentials: DoorCredentials,
    /// The request field, name and value, that says that an administrator comes. It is taken from
    /// every client's request and added through doors that were opened for one.
    pub admin_field: Option<(String, String)>,
}

/// A door.
#[derive(Debug)]
pub struct Door {
    keys: DoorKeys,
    /// The pool that it is in.
    pub pool: PoolKey,
    /// When it ends.
    pub until: Moment,
    /// Requests through it carry the pool's `admin_field`.
    pub as_admin: bool,
    /// Who opened it.
    pub by: String,
    over: AtomicBool,
    connections: AtomicU32,
    state: Mutex<DoorState>,
}

#[derive(Debug)]
struct DoorState {
    server: ServerKey,
    /// When it was entered.
    entered: Option<WallTime>,
    /// From where; of many the first ones.
    addresses: Vec<IpAddr>,
    credentials: Option<Credentials>,
    /// That somebody was refused is in the audit log.
    refusal_told: bool,
}

impl Door {
    /// A door that is open from now on.
    pub fn new(
        keys: DoorKeys,
        (pool, server): (PoolKey, ServerKey),
        until: Moment,
        as_admin: bool,
        by: String,
    ) -> Self {
        Self {
            keys,
            pool,
            until,
            as_admin,
            by,
            over: AtomicBool::new(false),
            connections: AtomicU32::new(0),
            state: Mutex::new(DoorState {
                server,
                entered: None,
                addresses: Vec::new(),
                credentials: None,
                refusal_told: false,
            }),
        }
    }

    /// Its number.
    pub fn id(&self) -> DoorId {
        self.keys.id
    }

    /// Whether it is still open.
    pub fn is_open(&self, now: Moment) -> bool {
        !self.over.load(Relaxed) && now < self.until
    }

    /// The server that it leads to.
    pub fn server(&self) -> ServerKey {
        self.state().server
    }

    /// When it was entered, if it was.
    pub fn entered(&self) -> Option<WallTime> {
        self.state().entered
    }

    /// Connections of an NBD pool that have come through it and are open.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// What its holder was asked for, if that was given.
    pub fn credentials(&self) -> Option<Credentials> {
        self.state().credentials.clone()
    }

    /// Takes what its holder was asked for.
    pub fn give_credentials(&self, credentials: Credentials) {
        self.state().credentials = Some(credentials);
    }

    /// What the browser shows that has entered.
    pub fn cookie_text(&self) -> String {
        format!("{}{}", self.id(), self.keys.cookie.text())
    }

    /// What stands in its page's forms.
    pub fn form_text(&self) -> String {
        self.keys.form.text()
    }

    /// Whether a form comes from its own page.
    pub fn is_form(&self, text: &[u8]) -> bool {
        self.keys.form.is_written(text)
    }

    /// Whether nobody has entered before; from now on somebody has. Of several who ask at the same
    /// moment, one is told so.
    fn is_first(&self, at: WallTime) -> bool {
        let mut state = self.state();
        let is_first = state.entered.is_none();
        state.entered.get_or_insert(at);
        is_first
    }

    /// Whether nobody has come from this address before; from now on somebody has. Of too many
    /// addresses none is new.
    fn is_first_from(&self, client: IpAddr, at: WallTime) -> bool {
        let mut state = self.state();
        state.entered.get_or_insert(at);
        let is_new = state.addresses.len() < ADDRESSES_MAX && !state.addresses.contains(&client);
        if is_new {
            state.addresses.push(client);
        }
        is_new
    }

    fn state(&self) -> MutexGuard<'_, DoorState> {
        lock(&self.state)
    }
}

/// A connection that has come through a door; dropping it closes it.
#[derive(Debug)]
pub struct DoorPass(Arc<Door>);

impl DoorPass {
    fn new(door: Arc<Door>) -> Self {
        door.connections.fetch_add(1, Relaxed);
        Self(door)
    }

    /// The door.
    pub fn door(&self) -> &Arc<Door> {
        &self.0
    }
}

impl Drop for DoorPass {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Why nobody comes in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorRefusal {
    /// No such door: made up, or of a time before a restart.
    Unknown,
    /// It is a door of another pool.
    OtherPool,
    /// The address has been used.
    Used,
    /// It is over.
    Over,
}

impl DoorRefusal {
    /// What happened, for the audit log.
    fn told(self) -> &'static str {
        match self {
            Self::Unknown => "refused: the key was wrong",
            Self::OtherPool => "refused: another pool was asked",
            Self::Used => "refused: the address had been used",
            Self::Over => "refused: the door was over",
        }
    }
}

/// Something that happened at a door, for the audit log.
#[derive(Clone, Debug)]
pub struct DoorNote {
    /// When.
    pub at: WallTime,
    /// At which door.
    pub door: Arc<Door>,
    /// From where; `None`: nobody, its time was over.
    pub client: Option<IpAddr>,
    /// What.
    pub what: &'static str,
    /// The server that the door led to.
    pub server: ServerKey,
}

/// All doors of a node.
#[derive(Debug, Default)]
pub struct DoorTable {
    doors: Mutex<BTreeMap<DoorId, Arc<Door>>>,
    notes: Mutex<Vec<DoorNote>>,
}

impl DoorTable {
    /// Opens a door.
    pub fn open(&self, door: Arc<Door>) {
        let mut doors = lock(&self.doors);
        doors.insert(door.id(), door);
        while doors.len() > KNOWN_MAX {
            let over = doors.values().filter(|door| door.over.load(Relaxed));
            let Some(oldest) = over.min_by_key(|door| door.until).map(|door| door.id()) else {
                break;
            };
            doors.remove(&oldest);
        }
    }

    /// The doors that are open, by number.
    pub fn list(&self, now: Moment) -> Vec<Arc<Door>> {
        let doors = lock(&self.doors);
        let open = doors.values().filter(|door| door.is_open(now));
        open.cloned().collect()
    }

    /// The door with this number, if it is open.
    pub fn get(&self, id: DoorId, now: Moment) -> Option<Arc<Door>> {
        let doors = lock(&self.doors);
        doors.get(&id).filter(|door| door.is_open(now)).cloned()
    }

    /// Enters by a one-use key; from then on that is used.
    pub fn enter(
        &self,
        pool: PoolKey,
        key: &[u8],
        client: IpAddr,
        now: Now,
    ) -> Result<Arc<Door>, DoorRefusal> {
        let (door, secret) = self.named(key)?;
        let refusal = match () {
            () if !door.keys.entry.is_written(secret) => DoorRefusal::Unknown,
            () if door.pool != pool => DoorRefusal::OtherPool,
            () if !door.is_open(now.moment) => DoorRefusal::Over,
            () if !door.is_first(now.wall) => DoorRefusal::Used,
            () => {
                self.note(&door, Some(client), "entered", now);
                return Ok(door);
            }
        };
        Err(self.refuse(&door, refusal, client, now))
    }

    /// Lets a connection of an NBD pool in by the key of the address. That is good as long as the door
    /// is open: such clients have several connections, and connect again.
    pub fn pass(
        &self,
        pool: PoolKey,
        key: &[u8],
        client: IpAddr,
        now: Now,
    ) -> Result<DoorPass, DoorRefusal> {
        let (door, secret) = self.named(key)?;
        let refusal = match () {
            () if !door.keys.entry.is_written(secret) => DoorRefusal::Unknown,
            () if door.pool != pool => DoorRefusal::OtherPool,
            () if !door.is_open(now.moment) => DoorRefusal::Over,
            () => {
                if door.is_first_from(client, now.wall) {
                    self.note(&door, Some(client), "entered", now);
                }
                return Ok(DoorPass::new(door));
            }
        };
        Err(self.refuse(&door, refusal, client, now))
    }

    /// The door that a browser has entered.
    pub fn find(
        &self,
        pool: PoolKey,
        cookie: &[u8],
        client: IpAddr,
        now: Now,
    ) -> Result<Arc<Door>, DoorRefusal> {
        let (door, secret) = self.named(cookie)?;
        let refusal = match () {
            () if !door.keys.cookie.is_written(secret) => DoorRefusal::Unknown,
            () if door.pool != pool => DoorRefusal::OtherPool,
            () if !door.is_open(now.moment) => DoorRefusal::Over,
            () => return Ok(door),
        };
        Err(self.refuse(&door, refusal, client, now))
    }

    /// Leads a door to another server of its pool.
    pub fn lead(&self, door: &Arc<Door>, server: ServerKey, client: IpAddr, now: Now) {
        let before = std::mem::replace(&mut door.state().server, server);
        if before != server {
            self.note(door, Some(client), "leads here now", now);
        }
    }

    /// Ends a door; whoever has left it says from where.
    pub fn leave(&self, door: &Arc<Door>, client: IpAddr, now: Now) {
        if !door.over.swap(true, Relaxed) {
            self.note(door, Some(client), "was left, and is over", now);
        }
    }

    /// Ends a door by the operator's order, which is in the audit log already.
    pub fn close(&self, id: DoorId) {
        if let Some(door) = lock(&self.doors).get(&id) {
            door.over.store(true, Relaxed);
        }
    }

    /// Ends the doors whose time is over, and forgets those that have long been.
    pub fn expire(&self, now: Now) {
        let mut doors = lock(&self.doors);
        for door in doors.values().filter(|door| door.until <= now.moment) {
            if !door.over.swap(true, Relaxed) {
                self.note(door, None, "is over: its time was up", now);
            }
        }
        doors.retain(|_, door| now.moment.since(door.until) < KNOWN_AFTER);
    }

    /// What happened since the last time, for the audit log.
    pub fn take_notes(&self) -> Vec<DoorNote> {
        std::mem::take(&mut *lock(&self.notes))
    }

    /// The door that a key or cookie names, and the secret that goes with it.
    fn named<'a>(&self, text: &'a [u8]) -> Result<(Arc<Door>, &'a [u8]), DoorRefusal> {
        let (id, secret) = text.split_at_checked(16).ok_or(DoorRefusal::Unknown)?;
        let id = std::str::from_utf8(id).ok().and_then(DoorId::from_text);
        let doors = lock(&self.doors);
        let door = id.and_then(|id| doors.get(&id));
        Ok((Arc::clone(door.ok_or(DoorRefusal::Unknown)?), secret))
    }

    /// A refusal is told once for each door, so that nobody can fill the log.
    fn refuse(
        &self,
        door: &Arc<Door>,
        refusal: DoorRefusal,
        client: IpAddr,
        now: Now,
    ) -> DoorRefusal {
        if !std::mem::replace(&mut door.state().refusal_told, true) {
            self.note(door, Some(client), refusal.told(), now);
        }
        refusal
    }

    fn note(&self, door: &Arc<Door>, client: Option<IpAddr>, what: &'static str, now: Now) {
        lock(&self.notes).push(DoorNote {
            at: now.wall,
            door: Arc::clone(door),
            client,
            what,
            server: door.server(),
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
