//! The health page: what a server says of itself.

/// What counts as healthy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthRule {
    /// Ranges of HTTP status, both ends included.
    pub status: Vec<(u16, u16)>,
    /// Text that the page must have. `ACTIVE` (in any case) means that the page speaks the
    /// language of health pages, and is understood rather than searched.
    pub expect: Option<String>,
}

/// What a health page said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PageHealth {
    /// Serving; with the number of sessions it still has places for, if it says so.
    Active {
        /// Places for new sessions.
        places: Option<u64>,
    },
    /// Its own administrator holds it: no new sessions.
    OnHold,
    /// Full: no new sessions for now.
    AllInUse,
    /// Not healthy, and why, for people.
    Failing(String),
}

/// Understands a health page.
pub fn read_health_page(status: u16, body: &[u8], rule: &HealthRule) -> PageHealth {
    let _ = (status, body, rule);
    unimplemented!()
}

/// Reads status ranges such as `200-399,401`. The error says what is wrong, for people.
pub fn parse_status_ranges(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let _ = text;
    unimplemented!()
}
