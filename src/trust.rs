//! Who may see more than cause tokens.

use crate::ffi::{CidrList, ComplexValue, Request};

/// The clients that get the full header.
pub(crate) enum Trust {
    All,
    None,
    Some { addresses: CidrList, variables: Vec<ComplexValue> },
}

impl Trust {
    /// Whether the client of `request` gets the full header.
    pub(crate) fn admits(&self, request: Request<'_>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some { addresses, variables } => {
                addresses.contain_client(request)
                    || variables.iter().any(|variable| is_true(variable, request))
            }
        }
    }
}

/// The default, `127.0.0.0/8 ::1 unix:`.
pub(crate) fn is_local(request: Request<'_>) -> bool {
    request.is_from_this_machine()
}

/// nginx's habit: neither empty nor `0`.
fn is_true(variable: &ComplexValue, request: Request<'_>) -> bool {
    variable.evaluate(request).is_some_and(|value| !value.is_empty() && value != b"0")
}
