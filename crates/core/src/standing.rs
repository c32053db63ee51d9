//! Standing: what follows from intent and reality.

use crate::health::{Health, Page};
use crate::intent::{Intent, PoolIntent};

/// May this server take new sessions? Its own? If not, why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// New sessions may begin here.
    pub admits_new: bool,
    /// Sessions that are here already are served.
    pub serves_own: bool,
    /// The one reason, shown wherever the server is shown.
    pub reason: Reason,
}

/// The closed list of reasons behind a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Wanted and well.
    Ready,
    /// Not probed yet since the program started; taken to be well.
    Unproven,
    /// Every server of the pool that is wanted is down; this one goes on answering, so that users
    /// see the service's own error.
    LastResort,
    /// Has as many sessions as it may have.
    Full,
    /// None of its copies of the pool's resources serves new clients.
    NoCopy,
    /// Its own health page says that all its sessions are in use.
    ReportsFull,
    /// Its own health page says that it is on hold.
    ReportsHold,
    /// Its machine is busier than it may be.
    OverPeak,
    /// An operator set its peak load to 0.
    PeakZero,
    /// The agent on it says that it has enough.
    AgentFull,
    /// The agent on it says that it is to take no new sessions.
    AgentDrain,
    /// The agent on it says that work is done there.
    AgentMaintenance,
    /// Much more of its traffic fails, or is slow, than its pool's.
    Sick,
    /// New in a running program; takes no new sessions before its first good probe, unless no
    /// other server does.
    Starting,
    /// An operator holds it.
    Held,
    /// An operator drains it.
    Draining,
    /// A failover test is made of it, and over in a moment.
    Drill,
    /// Its pool is closing, and refuses new sessions already.
    Closing,
    /// Its health checks fail.
    Down,
    /// Its pool is closed.
    Closed,
    /// Its pool admits nobody but through doors.
    DoorOnly,
    /// An operator has it in maintenance.
    Maintenance,
    /// It came out of maintenance, and has to show first that it is well.
    Verifying,
    /// It came out of maintenance, and did not show in time that it is well: it stays out.
    Unverified,
    /// It is no longer in the pool, and goes on with the sessions that it still has.
    Removed,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Reason; 25] = [
        Self::Ready,
        Self::Unproven,
        Self::LastResort,
        Self::Full,
        Self::NoCopy,
        Self::ReportsFull,
        Self::ReportsHold,
        Self::OverPeak,
        Self::PeakZero,
        Self::AgentFull,
        Self::AgentDrain,
        Self::AgentMaintenance,
        Self::Sick,
        Self::Starting,
        Self::Held,
        Self::Draining,
        Self::Drill,
        Self::Closing,
        Self::Down,
        Self::Closed,
        Self::DoorOnly,
        Self::Maintenance,
        Self::Verifying,
        Self::Unverified,
        Self::Removed,
    ];

    /// Whether it takes no new sessions because it has enough to do, which passes by itself.
    pub fn is_full(self) -> bool {
        matches!(
            self,
            Self::Full | Self::ReportsFull | Self::OverPeak | Self::AgentFull
        )
    }

    /// The word that people see.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unproven => "unproven",
            Self::LastResort => "last-resort",
            Self::Full => "full",
            Self::NoCopy => "no-copy",
            Self::ReportsFull => "reports-full",
            Self::ReportsHold => "reports-hold",
            Self::OverPeak => "over-peak",
            Self::PeakZero => "peak-zero",
            Self::AgentFull => "agent-full",
            Self::AgentDrain => "agent-drain",
            Self::AgentMaintenance => "agent-maint",
            Self::Sick => "sick",
            Self::Starting => "starting",
            Self::Held => "held",
            Self::Draining => "draining",
            Self::Drill => "drill",
            Self::Closing => "closing",
            Self::Down => "down",
            Self::Closed => "closed",
            Self::DoorOnly => "door-only",
            Self::Maintenance => "maintenance",
            Self::Verifying => "verifying",
            Self::Unverified => "unverified",
            Self::Removed => "removed",
        }
    }
}

/// How a server's load stands to its peak load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Peak {
    /// Below it, or nobody knows, or it has none.
    #[default]
    Below,
    /// Above it.
    Above,
    /// The peak load is 0: it takes no new sessions whatever its load.
    Zero,
}

/// What a server's agent says of new sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AgentWord {
    /// Nothing against them.
    #[default]
    Open,
    /// It has enough.
    Full,
    /// None.
    Drain,
    /// None, work is done there.
    Maintenance,
}

/// What the standing of one server is made from.
#[derive(Clone, Debug)]
pub(crate) struct Grounds<'a> {
    pub intent: &'a Intent,
    pub health: Health,
    pub page: Page,
    pub peak: Peak,
    pub agent: AgentWord,
    /// It is held for what its traffic tells.
    pub sick: bool,
    /// A failover test is being made of it.
    pub drill: bool,
    /// The reason that it stands by, if it has to show first that it is well.
    pub unverified: Option<Reason>,
}

/// The standings of a pool's servers, in the order given. The servers are judged together because
/// of the last resort: when every server that the operator wants is down, health tells nothing
/// about where users are better off, so sessions stay with their own servers and the one in
/// `last_resort` (an index; the most recently healthy) goes on admitting.
pub(crate) fn standings(servers: &[Grounds<'_>], last_resort: Option<usize>) -> Vec<Standing> {
    let mut standings: Vec<Standing> = servers.iter().map(standing).collect();
    if !standings.iter().any(|standing| standing.admits_new) {
        // Better a server that has not been probed yet than none.
        for standing in &mut standings {
            standing.admits_new |= standing.reason == Reason::Starting;
        }
    }
    // Whoever still has to show that it is well is no better than one that is down.
    let wanted =
        |grounds: &Grounds<'_>| *grounds.intent == Intent::Ready && grounds.unverified.is_none();
    let mut of_wanted = servers.iter().zip(&standings).filter(|(g, _)| wanted(g));
    if of_wanted.any(|(_, standing)| standing.serves_own) {
        return standings;
    }
    for (index, (grounds, standing)) in servers.iter().zip(&mut standings).enumerate() {
        if wanted(grounds) {
            standing.serves_own = true;
            if Some(index) == last_resort {
                standing.admits_new = true;
                standing.reason = Reason::LastResort;
            }
        }
    }
    standings
}

/// The standing of one server by itself: the operator's word first, then what is observed.
fn standing(grounds: &Grounds<'_>) -> Standing {
    let unverified = grounds
        .unverified
        .filter(|_| *grounds.intent == Intent::Ready);
    if let Some(reason) = unverified {
        return Standing {
            admits_new: false,
            serves_own: false,
            reason,
        };
    }
    let (admits_new, serves_own, reason) = match (grounds.intent, grounds.health) {
        (Intent::Maintenance, _) => (false, false, Reason::Maintenance),
        (_, Health::Down) => (false, false, Reason::Down),
        (Intent::Drain(_), _) => (false, true, Reason::Draining),
        (Intent::Hold, _) => (false, true, Reason::Held),
        (Intent::Ready, _) if grounds.drill => (false, true, Reason::Drill),
        // Before anything else that is observed: one that is not known yet may have to do as the only
        // one there is, but not against an operator's word, its own agent's, or when it is known to be
        // busy.
        (Intent::Ready, _) if grounds.peak == Peak::Zero => (false, true, Reason::PeakZero),
        (Intent::Ready, _) if grounds.agent != AgentWord::Open => {
            (false, true, grounds.agent.reason())
        }
        (Intent::Ready, _) if grounds.peak == Peak::Above => (false, true, Reason::OverPeak),
        (Intent::Ready, Health::Starting) => (false, true, Reason::Starting),
        (Intent::Ready, health) => match grounds.page {
            Page::OnHold => (false, true, Reason::ReportsHold),
            Page::AllInUse => (false, true, Reason::ReportsFull),
            Page::Active if grounds.sick => (false, true, Reason::Sick),
            Page::Active if health == Health::Unproven => (true, true, Reason::Unproven),
            Page::Active => (true, true, Reason::Ready),
        },
    };
    Standing {
        admits_new,
        serves_own,
        reason,
    }
}

impl AgentWord {
    /// Behind a standing that it brings about.
    fn reason(self) -> Reason {
        match self {
            Self::Open => Reason::Ready,
            Self::Full => Reason::AgentFull,
            Self::Drain => Reason::AgentDrain,
            Self::Maintenance => Reason::AgentMaintenance,
        }
    }
}

impl Standing {
    /// The same standing, in a pool of which this is wanted. What keeps a server from its sessions by
    /// itself stays the reason: that is what whoever works on a closed pool wants to see.
    pub(crate) fn within(self, pool: &PoolIntent) -> Self {
        match pool {
            PoolIntent::Closed(_) => Self {
                admits_new: false,
                serves_own: false,
                reason: match self.reason {
                    Reason::Maintenance | Reason::Down => self.reason,
                    Reason::Verifying | Reason::Unverified => self.reason,
                    Reason::LastResort => Reason::Down,
                    _ => Reason::Closed,
                },
            },
            _ if pool.blocks_new() && self.admits_new => Self {
                admits_new: false,
                reason: Reason::Closing,
                ..self
            },
            _ => self,
        }
    }

    /// The same standing, in a pool that admits nobody but through doors.
    pub(crate) fn behind_doors(self) -> Self {
        Self {
            admits_new: false,
            serves_own: false,
            reason: match self.reason {
                Reason::Maintenance | Reason::Down | Reason::Closed => self.reason,
                Reason::Verifying | Reason::Unverified => self.reason,
                Reason::LastResort => Reason::Down,
                _ => Reason::DoorOnly,
            },
        }
    }

    /// Whether what is in flight there must come to an end: its time was over.
    pub fn ends_work(self) -> bool {
        matches!(
            self.reason,
            Reason::Maintenance | Reason::Closed | Reason::DoorOnly
        )
    }

    /// Of a server that has not been judged yet.
    pub(crate) fn closed() -> Self {
        Self {
            admits_new: false,
            serves_own: false,
            reason: Reason::Starting,
        }
    }

    /// Of a server that has left the pool and still has sessions.
    pub(crate) fn removed() -> Self {
        Self {
            admits_new: false,
            serves_own: true,
            reason: Reason::Removed,
        }
    }

    /// The same standing, of a server none of whose copies serves new clients.
    pub(crate) fn without_copy(self) -> Self {
        Self {
            admits_new: false,
            reason: match self.admits_new {
                true => Reason::NoCopy,
                false => self.reason,
            },
            ..self
        }
    }

    /// The same standing, seen together with the places that its own page has left.
    pub fn with_places(self, left: Option<u32>) -> Self {
        if !(self.admits_new && left == Some(0)) {
            return self;
        }
        Self {
            admits_new: false,
            reason: Reason::ReportsFull,
            ..self
        }
    }

    /// The same standing, seen together with how many sessions the server has.
    pub fn with_sessions(self, sessions: u32, max_sessions: Option<u32>) -> Self {
        let full = max_sessions.is_some_and(|max| sessions >= max);
        if !(self.admits_new && full) {
            return self;
        }
        Self {
            admits_new: false,
            reason: Reason::Full,
            ..self
        }
    }
}
