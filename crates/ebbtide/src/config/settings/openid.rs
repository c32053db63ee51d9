//! The settings of signing in by OpenID Connect.

use super::{Default, Kind, Setting, setting};

/// Texts in a list, at most.
const LIST: Kind = Kind::Texts(100);

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "admin.sign_in.openid.issuer",
        Kind::Url,
        Default::Required,
        "What the provider calls itself, exactly: `https://`, or `http://` on this machine. What it says \
         of itself is below that, at `/.well-known/openid-configuration`. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.openid.client_id",
        Kind::Text,
        Default::Required,
        "What the provider calls Ebbtide. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.openid.client_secret_file",
        Kind::FilePath,
        Default::Required,
        "A file with the secret that the provider has given Ebbtide, 16 to 4096 bytes, which only its \
         owner may read (mode 0600). Line breaks at its end do not belong to the secret. A change needs a \
         restart.",
    ),
    setting(
        "admin.sign_in.openid.redirect",
        Kind::Url,
        Default::Required,
        "Where browsers come back to, as the provider is told too: the console's own address with the \
         path `/sign-in/openid/back`. `https://`, or `http://` on a loopback address. A change needs a \
         restart.",
    ),
    setting(
        "admin.sign_in.openid.scopes",
        LIST,
        Default::Value("[\"openid\", \"profile\", \"email\"]"),
        "What the provider is asked to tell; `openid` must be among it. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.openid.name",
        Kind::Text,
        Default::Else("`preferred_username`, else `email`, else `sub`"),
        "The claim that is the user's name, which `openid:` is put before. Take one that users cannot \
         change themselves; an `email` counts only if the provider has verified it. A change needs a \
         restart.",
    ),
    setting(
        "admin.sign_in.openid.roles.claim",
        Kind::Text,
        Default::Value("\"groups\""),
        "The claim that roles hang on: a text, or a list of texts. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.openid.roles.viewer",
        LIST,
        Default::Value("[]"),
        "Values of that claim that make a viewer. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.openid.roles.operator",
        LIST,
        Default::Value("[]"),
        "Values of that claim that make an operator. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.openid.roles.admin",
        LIST,
        Default::Value("[]"),
        "Values of that claim that make an admin. A change needs a restart.",
    ),
];
