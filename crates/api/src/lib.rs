//! The contract of the control API: the JSON that goes over it, and a typed client.
//!
//! Everything the command line does goes through here; it can do nothing that this cannot. Spans
//! of time are whole milliseconds (`*_ms`), points in time are RFC 3339 with milliseconds, UTC.

mod client;
mod door;
mod error;
mod event;
mod moves;
mod rebalance;
mod replica;
mod request;
mod status;
mod timestamp;

pub use client::{Client, ClientError, EventStream};
pub use door::{Door, Doors, NewDoor, OpenDoor};
pub use error::{ErrorBody, ErrorDetail, ErrorKind};
pub use event::{Event, EventKind};
pub use moves::{
    DrillRequest, MoveRequest, MovedSession, MovesReport, StayingSession, StopRequest,
};
pub use rebalance::{Crowd, Rebalance, RebalancePlan, RebalanceRequest};
pub use replica::{Copy, Replicas, Resource};
pub use request::{
    AddServer, AuditEntry, AuditPage, AuditQuery, BlockNew, Changed, CloseRequest, CreateToken,
    CreateUser, DrainRequest, EndSessionsRequest, HoldRequest, NewToken, ReasonQuery,
    ReasonRequest, RemoveQuery, Role, Session, SessionPage, SessionQuery, SessionsEnded,
    SessionsTold, SetPassword, SetRole, SetServer, TellSessionsRequest, Token, Tokens, Untold,
    User, Users, WaitAnswer, WaitFor, WaitQuery,
};
pub use status::{
    Agent, Forecast, Health, Intent, Listener, Machine, Name, Node, PoolIntent, PoolStatus,
    Returning, ServerStatus, SessionCounts, Sickness, Standing, Status, StoreStatus, Traffic,
    Verification,
};
pub use timestamp::Timestamp;

/// The path under which every endpoint of this contract lives.
pub const PREFIX: &str = "/api/v1";

/// The name of the control API's UNIX socket within the state directory.
pub const SOCKET_NAME: &str = "admin.sock";
