//! The rules of Ebbtide: what servers may do, where sessions go, how a drain ends.
//!
//! Pure: no I/O, no clock, no randomness. Time ([`Now`]) and dice come in as arguments, decisions
//! go out as values, so that the same code runs in the product, in a test and in a simulation.
//!
//! The way in is [`Driver::step`]; what the data plane works from is a [`Snapshot`]; what both
//! planes hold together is the [`SessionTable`].

mod agent;
mod balance;
mod candidates;
mod command;
mod config;
mod counters;
mod door;
mod driver;
mod event;
mod forecast;
mod gate;
mod guard;
mod health;
mod intent;
mod load;
mod name;
mod network;
mod notice;
mod outlier;
mod places;
mod rebalance;
mod record;
mod replica;
mod session;
mod slow_start;
mod snapshot;
mod source;
mod standing;
mod status;
mod table;
mod takeover;
mod time;
mod traffic;
mod upgrade;

pub use agent::{AgentHealth, AgentSaid, AgentSettings, AgentWeight, AgentWish};
pub use balance::{Rotation, SPLIT_MIX_STEP, choose, split_mix, stand_in};
pub use candidates::Candidates;
pub use command::{
    Actor, Answer, Command, MoveReport, MovedSession, PeakChange, Refusal, RefusalKind, RequestId,
    SESSIONS_ENDED_MAX, SESSIONS_TOLD_MAX, ServerChange,
};
pub use config::{
    Balance, Config, Cut, HealthCheck, HealthSettings, HttpSettings, ListenerConfig, LoadMeasure,
    LoadSettings, LogoutCall, NameConfig, NbdSettings, NoticeSettings, PoolConfig, Protocol,
    SendProxy, ServerConfig, StickySettings, TcpSettings, UpgradeCheck, UserSource, VerifyCheck,
    VerifyPage,
};
pub use counters::{
    Counter, NodeCounters, NodeSlot, PAUSE_CLASSES_US, Pauses, PoolCounters, PoolSlot, Reasons,
    ServerCounters, ServerSlot,
};
pub use door::{
    Credentials, DOORS_MAX, Door, DoorCredentials, DoorId, DoorKeys, DoorNote, DoorPass,
    DoorRefusal, DoorSecret, DoorSettings, DoorTable,
};
pub use driver::{
    ADDRESSES_MAX, CLOSE_MAX, Close, Driver, Input, ManifestCopies, NameAnswer, Output,
};
pub use event::{Event, EventKind, Fates, count};
pub use forecast::{DurationHistory, Forecast, Left, Survival};
pub use gate::{GateSettings, HealthPage, OwnPage, OwnPages, PAGE_BYTES_MAX, Ticket, WaitingLine};
pub use guard::{GuardRefusal, TakesNone};
pub use health::{Health, ProbeOutcome};
pub use intent::{BlockNew, Closing, Closure, Drain, Intent, PoolIntent};
pub use load::{Load, LoadGauge, LoadReading};
pub use name::{
    ListenerName, PoolKey, ServerKey, ServerName, SessionId, is_name, is_plain, is_unseemly,
};
pub use network::Network;
pub use notice::{
    COUNTDOWN, MESSAGE_LASTING, Message, Notice, NoticeKind, script_with_notice_words,
};
pub use outlier::OutlierSettings;
pub use places::Places;
pub use rebalance::{Crowd, RebalancePlan};
pub use record::{
    AuditEntry, DoorRecord, IntentRecord, PoolIntentRecord, Restored, RestoredServer,
    ServerOverride, StoredIntent, StoredPoolIntent, StoredVerification, Write,
};
pub use replica::{
    CopyReason, CopyView, Difference, Digest, Identity, IdentitySource, Knowledge, ManifestPlace,
    Mode, Modified, Outlook, Proof, Reading, ReplicaSettings, ReplicaView, ResourceConfig,
    ResourceView, Verdict, grouped,
};
pub use session::{Crossing, EndReason, Session, SessionState, Stay};
pub use slow_start::{SHARE_WHOLE, share_after};
pub use snapshot::{
    Fact, Place, PoolView, SecondTry, ServerLoad, ServerView, Snapshot, TokenSecrets,
};
pub use source::{Source, SourceStay, Sources};
pub use standing::{Reason, Standing};
pub use status::{
    AgentStatus, IntentStatus, MachineStatus, NameStatus, NodeStatus, PoolIntentStatus, PoolStatus,
    RebalanceStatus, ReturnStatus, ServerStatus, SicknessStatus, VerificationStatus,
};
pub use table::{Found, SessionChange, SessionChangeKind, SessionTable, Tally};
pub use takeover::{Attachment, Bound, MoveOrder, Moved, NotTaken, may_take_over};
pub use time::{Millis, Moment, Now, WallTime};
pub use traffic::{LATENCY_CLASSES, Latencies, Marks, Traffic, TrafficTotal, window_at};
pub use upgrade::{VersionAnswer, VersionBefore, VersionPage, Versions};
