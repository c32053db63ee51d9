//! What a request failed with.

/// What a request failed with (section "Error values").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ErrorNumber {
    /// `NBD_EPERM`: a write to what is read-only.
    NotPermitted = 1,
    /// `NBD_EIO`.
    InputOutput = 5,
    /// `NBD_ENOMEM`.
    NoMemory = 12,
    /// `NBD_EINVAL`: the request is wrong, or asks for what was not agreed on.
    Invalid = 22,
    /// `NBD_ENOSPC`: also a write beyond the end.
    NoSpace = 28,
    /// `NBD_EOVERFLOW`: too long to be answered in one piece.
    Overflow = 75,
    /// `NBD_ENOTSUP`: zeroes cannot be written fast.
    NotSupported = 95,
    /// `NBD_ESHUTDOWN`: the server goes away.
    ShuttingDown = 108,
}

impl ErrorNumber {
    /// The error of a reply; `None` for 0, which is none. A number that is not in the list counts as
    /// [`ErrorNumber::Invalid`], as the section says.
    pub fn from_wire(number: u32) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(ErrorNumber::NotPermitted),
            5 => Some(ErrorNumber::InputOutput),
            12 => Some(ErrorNumber::NoMemory),
            28 => Some(ErrorNumber::NoSpace),
            75 => Some(ErrorNumber::Overflow),
            95 => Some(ErrorNumber::NotSupported),
            108 => Some(ErrorNumber::ShuttingDown),
            _ => Some(ErrorNumber::Invalid),
        }
    }

    /// Its name, as people know it from their system.
    pub fn name(self) -> &'static str {
        match self {
            ErrorNumber::NotPermitted => "EPERM",
            ErrorNumber::InputOutput => "EIO",
            ErrorNumber::NoMemory => "ENOMEM",
            ErrorNumber::Invalid => "EINVAL",
            ErrorNumber::NoSpace => "ENOSPC",
            ErrorNumber::Overflow => "EOVERFLOW",
            ErrorNumber::NotSupported => "ENOTSUP",
            ErrorNumber::ShuttingDown => "ESHUTDOWN",
        }
    }

    /// As it is written.
    pub fn to_wire(self) -> u32 {
        self as u32
    }
}
