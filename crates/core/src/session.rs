//! One session: one user's stay on one server.

use crate::name::{PoolKey, ServerKey, SessionId};
use crate::notice::Message;
use crate::snapshot::{Place, ServerLoad, ServerView};
use crate::takeover::Attachment;
use crate::time::{Millis, Moment, WallTime};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Nothing was heard from its user for longer than `reuse`.
    Expired = 1,
    /// Its user logged out.
    LoggedOut,
    /// An operator ended it.
    EndedByOperator,
    /// Its server's epoch was raised: an operator had it forgotten.
    Forgotten,
    /// Its server went down or into maintenance; the user was given another.
    ServerGone,
    /// Its server is no longer in the pool.
    ServerRemoved,
    /// The deadline of its server's drain or of its pool's closing came, or its server went into
    /// maintenance at once.
    Deadline,
    /// Nothing came from its user for longer than `idle_end`, though a connection was open.
    Idle,
    /// It was a connection, and one of its ends closed it or was lost.
    Disconnected,
    /// The resource that it used went into maintenance.
    ResourceMaintenance,
}

impl EndReason {
    /// The word that people see.
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::LoggedOut => "logged-out",
            Self::EndedByOperator => "ended-by-operator",
            Self::Forgotten => "forgotten",
            Self::ServerGone => "server-gone",
            Self::ServerRemoved => "server-removed",
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::Disconnected => "disconnected",
            Self::ResourceMaintenance => "resource-maintenance",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [
            Self::Expired,
            Self::LoggedOut,
            Self::EndedByOperator,
            Self::Forgotten,
            Self::ServerGone,
            Self::ServerRemoved,
            Self::Deadline,
            Self::Idle,
            Self::Disconnected,
            Self::ResourceMaintenance,
        ]
        .into_iter()
        .find(|reason| *reason as u8 == code)
    }
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// A request is open, or its user was heard from within the pool's `active`.
    Active,
    /// Quiet, but still bound to its server.
    Idle,
    /// Over; its token is worth nothing.
    Ended(EndReason),
}

/// The longest user name that is kept, in bytes.
const USER_BYTES_MAX: usize = 128;
/// The most of its cookies that are kept for a session's logout call, in bytes.
const COOKIES_BYTES_MAX: usize = 4096;

/// What is kept of some sessions only: of their users, where the pool says how to know, of what they
/// use, and what an operator says to them.
#[derive(Debug, Default)]
struct Who {
    user: Option<Box<str>>,
    cookies: Option<Box<[u8]>>,
    attachment: Option<Arc<Attachment>>,
    message: Option<Arc<Message>>,
}

/// One user's stay on one server. Shared by the worker that serves it and the control plane that
/// counts it; what changes is atomic, so that neither waits for the other.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Its pool.
    pub pool: PoolKey,
    /// Its server.
    pub server: ServerKey,
    /// Its server's epoch when it began.
    pub epoch: u32,
    /// When it began.
    pub started: Moment,
    /// The address that it began from.
    pub client: IpAddr,
    /// How often it has moved from one server to another.
    pub moves: u32,
    can_move: AtomicBool,
    /// Answers under way that another server can go on with.
    movable: AtomicU32,
    load: Arc<ServerLoad>,
    last_activity: AtomicI64,
    bytes: AtomicU64,
    requests: AtomicU32,
    open: AtomicU32,
    tunnels: AtomicU32,
    ended: AtomicU8,
    is_buried: bool,
    is_awaited: AtomicBool,
    /// A message may stand: nobody locks anything to find that there is none.
    has_message: AtomicBool,
    who: Mutex<Option<Box<Who>>>,
}

impl Session {
    /// A session that counts in `load` from now on; the caller has been admitted there.
    pub(crate) fn new(
        id: SessionId,
        server: (PoolKey, ServerKey, u32),
        load: Arc<ServerLoad>,
        client: IpAddr,
        started: Moment,
        now: Moment,
    ) -> Self {
        Self {
            id,
            pool: server.0,
            server: server.1,
            epoch: server.2,
            started,
            client,
            moves: 0,
            can_move: AtomicBool::new(false),
            movable: AtomicU32::new(0),
            load,
            last_activity: AtomicI64::new(now.0),
            bytes: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            open: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            ended: AtomicU8::new(0),
            is_buried: false,
            is_awaited: AtomicBool::new(false),
            has_message: AtomicBool::new(false),
            who: Mutex::default(),
        }
    }

    /// A session that an operator ended before a restart: no more is known of it than its number and
    /// its server.
    pub(crate) fn buried(id: SessionId, server: (PoolKey, ServerKey, u32), now: Moment) -> Self {
        let load = Arc::<ServerLoad>::default();
        load.enter();
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let session = Self {
            is_buried: true,
            ..Self::new(id, server, load, nobody, now, now)
        };
        session.end(EndReason::EndedByOperator, now);
        session
    }

    /// The stay of an operator who has come through a door: it counts nowhere, and is in no table.
    pub fn behind_door(
        id: SessionId,
        pool: PoolKey,
        server: &ServerView,
        client: IpAddr,
        now: Moment,
    ) -> Arc<Self> {
        let server = (pool, server.key, server.epoch);
        Arc::new(Self::new(id, server, Arc::default(), client, now, now))
    }

    /// Whether it ended before a restart: then nothing is known of its client, its times and what it
    /// did.
    pub fn is_buried(&self) -> bool {
        self.is_buried
    }

    /// Whether a rebalance has forgotten it, and its user has not come back since.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Relaxed)
    }

    /// A rebalance has forgotten it, or its user has come back.
    pub(crate) fn await_user(&self, is_awaited: bool) {
        self.is_awaited.store(is_awaited, Relaxed);
    }

    /// The same session on its way to another server, where it has this place.
    pub fn cross(self: &Arc<Self>, place: Place) -> Crossing {
        let server = (self.pool, place.server, place.epoch);
        let (load, heard) = (place.take(), self.last_activity());
        let new = Self::new(self.id, server, load, self.client, self.started, heard);
        let moves = self.moves.saturating_add(1);
        Crossing {
            from: Arc::clone(self),
            to: Arc::new(Self { moves, ..new }),
            has_arrived: false,
        }
    }

    /// Takes over what is known of the session from what it was before it moved.
    pub(crate) fn take_over(&self, old: &Self) {
        self.can_move.store(old.can_move.load(Relaxed), Relaxed);
        self.bytes.fetch_add(old.bytes(), Relaxed);
        self.requests.fetch_add(old.requests(), Relaxed);
        *self.who() = old.who().take();
        self.has_message.store(old.has_message(), Relaxed);
    }

    /// It uses this from now on. If others can stand in for that, whoever serves it moves it when its
    /// server may not serve it any more; until then nobody ends it for that.
    pub fn attach(&self, attachment: Attachment) {
        self.can_move.store(attachment.began_on.is_some(), Relaxed);
        self.who().get_or_insert_default().attachment = Some(Arc::new(attachment));
    }

    /// What it uses, where that is known.
    pub fn attachment(&self) -> Option<Arc<Attachment>> {
        self.who().as_ref()?.attachment.clone()
    }

    /// Whether another server could go on with what it has open.
    pub(crate) fn can_move(&self) -> bool {
        self.can_move.load(Relaxed) || self.movable.load(Relaxed) > 0
    }

    /// Its user was heard from.
    pub fn touch(&self, now: Moment) {
        self.last_activity.store(now.0, Relaxed);
    }

    /// When its user was last heard from; once it has ended, when it did.
    pub fn last_activity(&self) -> Moment {
        Moment(self.last_activity.load(Relaxed))
    }

    /// Requests so far.
    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// Requests and tunnels that are open now.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Those of them that are tunnels.
    pub fn tunnels(&self) -> u32 {
        self.tunnels.load(Relaxed)
    }

    /// Bytes of bodies and tunnels, both ways.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// So many more bytes of a body or a tunnel have passed.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Its user's name, if a request has told it.
    pub fn user(&self) -> Option<String> {
        let who = self.who();
        Some(who.as_ref()?.user.as_ref()?.to_string())
    }

    /// What `look` makes of its user's name, if a request has told it.
    pub fn with_user<T>(&self, look: impl FnOnce(&str) -> T) -> Option<T> {
        let who = self.who();
        Some(look(who.as_ref()?.user.as_ref()?))
    }

    /// A request names the user. Of a name that is too long the beginning is kept.
    pub fn name_user(&self, name: &str) {
        let name = &name[..name.floor_char_boundary(USER_BYTES_MAX)];
        let mut who = self.who();
        let user = &mut who.get_or_insert_default().user;
        if user.as_deref() != Some(name) {
            *user = Some(name.into());
        }
    }

    /// Keeps the cookies of a request for the call that logs the user out. Too many are not kept: half
    /// of them would be worth nothing.
    pub fn keep_cookies(&self, cookies: &[u8]) {
        let mut who = self.who();
        let kept = &mut who.get_or_insert_default().cookies;
        if cookies.len() <= COOKIES_BYTES_MAX && kept.as_deref() != Some(cookies) {
            *kept = Some(cookies.into());
        }
    }

    /// The cookies that were kept last; they are given out once.
    pub(crate) fn take_cookies(&self) -> Option<Box<[u8]>> {
        self.who().as_mut()?.cookies.take()
    }

    /// Leaves its user a message, in place of the one before.
    pub(crate) fn leave_message(&self, message: &Arc<Message>) {
        // The flag is changed with the lock held, as the message is: the two never part.
        let mut who = self.who();
        who.get_or_insert_default().message = Some(Arc::clone(message));
        self.has_message.store(true, Relaxed);
    }

    /// Whether a message may stand for its user. One that has just ended may still be counted.
    pub fn has_message(&self) -> bool {
        self.has_message.load(Relaxed)
    }

    /// The message that stands for its user.
    pub fn message(&self, now: Moment) -> Option<Arc<Message>> {
        if !self.has_message() || self.ended().is_some() {
            return None;
        }
        let who = self.who();
        let message = who.as_ref()?.message.as_ref()?;
        (now < message.ends).then(|| Arc::clone(message))
    }

    /// Its user has read the message that was left `at`; another one stays.
    pub fn dismiss_message(&self, at: WallTime) {
        self.drop_message_if(|message| message.at == at);
    }

    /// Drops a message that nobody can read any more.
    pub(crate) fn drop_old_message(&self, now: Moment) {
        let has_ended = self.ended().is_some();
        self.drop_message_if(|message| has_ended || message.ends <= now);
    }

    fn drop_message_if(&self, is_over: impl Fn(&Message) -> bool) {
        if !self.has_message() {
            return;
        }
        let mut who = self.who();
        let kept = who.as_mut().map(|who| &mut who.message);
        if let Some(kept) = kept
            && kept.as_ref().is_some_and(|message| is_over(message))
        {
            *kept = None;
            self.has_message.store(false, Relaxed);
        }
    }

    fn who(&self) -> MutexGuard<'_, Option<Box<Who>>> {
        // Nothing panics while it holds it, and it is whole between any two statements.
        self.who.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing has come from its user for longer than `idle_end`. A request that is being
    /// answered is a user who waits; an open tunnel is not.
    pub fn is_unused(&self, idle_end: Millis, now: Moment) -> bool {
        self.open() == self.tunnels() && now.since(self.last_activity()) > idle_end
    }

    /// Why it ended, if it did.
    pub fn ended(&self) -> Option<EndReason> {
        EndReason::from_code(self.ended.load(Relaxed))
    }

    /// Begins a request or a tunnel of this session.
    pub fn enter(self: &Arc<Self>, now: Moment) -> Stay {
        self.touch(now);
        self.count_request();
        self.go_on()
    }

    /// Goes on with a request or a tunnel that the session had open on another server.
    pub fn go_on(self: &Arc<Self>) -> Stay {
        self.open.fetch_add(1, Relaxed);
        Stay {
            session: Arc::clone(self),
            is_tunnel: false,
            is_movable: false,
        }
    }

    /// Begins the connection that this session is, as a tunnel. What is asked over it is counted one by
    /// one.
    pub fn connect(self: &Arc<Self>) -> Stay {
        let mut stay = self.go_on();
        stay.become_tunnel();
        stay
    }

    /// Something was asked over its connection.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// What it is doing, where quiet for more than `active` means idle: a request that is being answered
    /// is a user who waits, an open tunnel or connection is not.
    pub fn state(&self, now: Moment, active: Millis) -> SessionState {
        match self.ended() {
            Some(reason) => SessionState::Ended(reason),
            None if self.open() > self.tunnels() || now.since(self.last_activity()) <= active => {
                SessionState::Active
            }
            None => SessionState::Idle,
        }
    }

    /// Ends it, once: only the first caller gets `true`, and only then does the count go down.
    pub(crate) fn end(&self, reason: EndReason, now: Moment) -> bool {
        let first = self
            .ended
            .compare_exchange(0, reason as u8, Relaxed, Relaxed)
            .is_ok();
        if first {
            self.touch(now);
            self.load.leave();
        }
        first
    }
}

/// A request or a tunnel of a session that is open; dropping it closes it.
#[derive(Debug)]
pub struct Stay {
    session: Arc<Session>,
    is_tunnel: bool,
    is_movable: bool,
}

/// A session on its way to another server. It has a place there, and is known there once it has arrived
/// ([`SessionTable::arrive`](crate::SessionTable::arrive)). Dropping it before gives the place up.
#[derive(Debug)]
pub struct Crossing {
    pub(crate) from: Arc<Session>,
    pub(crate) to: Arc<Session>,
    pub(crate) has_arrived: bool,
}

impl Crossing {
    /// The session as it will be.
    pub fn session(&self) -> &Arc<Session> {
        &self.to
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        if !self.has_arrived {
            self.to.end(EndReason::ServerGone, self.to.last_activity());
        }
    }
}

impl Stay {
    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The request has become a tunnel.
    pub fn become_tunnel(&mut self) {
        if !std::mem::replace(&mut self.is_tunnel, true) {
            self.session.tunnels.fetch_add(1, Relaxed);
        }
    }

    /// Another server could go on with what is open.
    pub fn become_movable(&mut self) {
        if !std::mem::replace(&mut self.is_movable, true) {
            self.session.movable.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.is_tunnel {
            self.session.tunnels.fetch_sub(1, Relaxed);
        }
        if self.is_movable {
            self.session.movable.fetch_sub(1, Relaxed);
        }
        self.session.open.fetch_sub(1, Relaxed);
    }
}
