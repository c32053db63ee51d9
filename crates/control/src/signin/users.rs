//! Users in a file: who may sign in, and as what. The command line and the control API change the file,
//! a running node reads it again when it has changed.
//!
//! A change is written beside the file and takes its place whole, so that nobody ever reads half of
//! it. Two commands at once wait for each other.

#[cfg(test)]
mod tests;

use super::password;
use crate::clock::clock;
use ebbtide_api::{Role, Timestamp};
use ebbtide_core::is_name;
use rustix::fs::{FlockOperation, Gid, OFlags, Uid, fchown, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file of users within the state directory, unless `admin.users` says otherwise.
pub const USERS_FILE: &str = "users";
/// Users in one file, at most.
const USERS_MAX: usize = 1000;
/// Bytes of the file, at most.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A file that others can change may have any admin in it, and hashes that all can read are guessed at
/// without anybody's noticing. Its group may read it: configuration management likes to have it so.
const MODE_REFUSED: u32 = 0o027;
const HEADER: &str = "\
# Who may sign in to Ebbtide's console. `ebbtide user` and the console keep this file, and a running
# node reads it again when it changes. Of a password only its argon2id hash stands here.
";

/// A user, as the file has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub role: Role,
    pub created: Timestamp,
    /// The PHC string of the password's hash.
    pub password: String,
    /// What was signed in before this is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_out: Option<Timestamp>,
}

impl User {
    /// A session belongs to its user as he stood here when it began: whatever of him changes changes
    /// this, and so ends it.
    pub fn stamp(&self) -> String {
        let signed_out = self.signed_out.map_or(0, |at| at.0);
        let text = format!("{}\n{}\n{signed_out}", self.role, self.password);
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

pub(super) type Users = BTreeMap<String, User>;

/// A change to one user. A password is here as the PHC string of its hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Add { role: Role, hash: String },
    Remove,
    Role(Role),
    Password(String),
    SignOut,
}

impl Change {
    /// What is done, for the audit log.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Add { .. } => "user add",
            Self::Remove => "user remove",
            Self::Role(_) => "user role",
            Self::Password(_) => "user password",
            Self::SignOut => "user sign-out",
        }
    }

    /// What comes of it, for the audit log.
    pub fn outcome(&self, name: &str) -> String {
        match self {
            Self::Add { role, .. } => format!("the user {name} has the role {role}"),
            Self::Remove => format!("the user {name} is no more"),
            Self::Role(role) => format!("the user {name} has the role {role} now"),
            Self::Password(_) => format!("the user {name} has another password"),
            Self::SignOut => format!("the user {name} is signed out everywhere"),
        }
    }
}

/// A user, without the password's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    /// Who.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Since when there is this user.
    pub created: Timestamp,
}

/// The file of users, to be changed.
pub struct UsersFile {
    path: PathBuf,
}

/// Why the file of users cannot be read or changed.
#[derive(Debug)]
pub enum UsersError {
    /// A name or a password that is none; the file is as it was.
    Invalid(String),
    /// There is no such user; the file is as it was.
    Unknown(String),
    /// There is such a user already, or it would leave no admin; the file is as it was.
    Conflict(String),
    /// The file holds something else.
    File(String),
    /// The file cannot be read or changed, perhaps only now.
    Io(String),
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text)
            | Self::Unknown(text)
            | Self::Conflict(text)
            | Self::File(text)
            | Self::Io(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for UsersError {}

impl UsersFile {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The users, by name.
    pub fn list(&self) -> Result<Vec<ListedUser>, UsersError> {
        let users = read(&self.path)?;
        let listed = |(name, user): (String, User)| ListedUser {
            name,
            role: user.role,
            created: user.created,
        };
        Ok(users.into_iter().map(listed).collect())
    }

    /// Whether `name` may be added: it is a name, and nobody's yet. [`add`](Self::add) asks the same;
    /// this is for asking before the password is typed.
    pub fn check_new(&self, name: &str) -> Result<(), UsersError> {
        check_name(name)?;
        match read(&self.path)?.contains_key(name) {
            true => Err(exists(name)),
            false => Ok(()),
        }
    }

    /// Whether `secret` may be the password of `name`.
    pub fn check_password(&self, name: &str, secret: &str) -> Result<(), UsersError> {
        password::check(name, secret).map_err(UsersError::Invalid)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is such a user, for the same reason.
    pub fn check_known(&self, name: &str) -> Result<(), UsersError> {
        self.find(&mut read(&self.path)?, name).map(|_| ())
    }

    /// Adds a user. The password is 12 characters to 1,024 bytes long.
    pub fn add(&self, name: &str, role: Role, secret: &str) -> Result<(), UsersError> {
        check_name(name)?;
        password::check(name, secret).map_err(UsersError::Invalid)?;
        let hash = password::hash(secret).map_err(UsersError::File)?;
        self.make(name, Change::Add { role, hash })
    }

    /// Removes a user, who is signed out everywhere.
    pub fn remove(&self, name: &str) -> Result<(), UsersError> {
        self.make(name, Change::Remove)
    }

    /// Sets another password, which signs the user out everywhere.
    pub fn set_password(&self, name: &str, secret: &str) -> Result<(), UsersError> {
        password::check(name, secret).map_err(UsersError::Invalid)?;
        let hash = password::hash(secret).map_err(UsersError::File)?;
        self.make(name, Change::Password(hash))
    }

    /// Gives a user another role, which signs him out everywhere.
    pub fn set_role(&self, name: &str, role: Role) -> Result<(), UsersError> {
        self.make(name, Change::Role(role))
    }

    /// Signs a user out everywhere.
    pub fn sign_out(&self, name: &str) -> Result<(), UsersError> {
        self.make(name, Change::SignOut)
    }

    fn make(&self, name: &str, change: Change) -> Result<(), UsersError> {
        self.change(|users| self.apply(users, name, change))
    }

    /// Makes a change, unless it is none, or would take the role admin from the last user who has it.
    /// Whoever has the node's own machine may do that. `stamp`: only if this is still the user's.
    pub(super) fn make_guarded(
        &self,
        name: &str,
        change: Change,
        stamp: Option<&str>,
    ) -> Result<(), UsersError> {
        self.change(|users| {
            let user = users.get(name);
            let is_other = |stamp| user.is_none_or(|user| user.stamp() != stamp);
            if stamp.is_some_and(is_other) {
                let text = format!("somebody else has changed the user {name} meanwhile");
                return Err(UsersError::Conflict(text));
            }
            if let Change::Role(role) = change
                && user.is_some_and(|user| user.role == role)
            {
                let text = format!("the user {name} has the role {role} already");
                return Err(UsersError::Conflict(text));
            }
            let had_admin = has_admin(users);
            self.apply(users, name, change)?;
            match had_admin && !has_admin(users) {
                true => Err(UsersError::Conflict(last_admin(name))),
                false => Ok(()),
            }
        })
    }

    fn apply(&self, users: &mut Users, name: &str, change: Change) -> Result<(), UsersError> {
        match change {
            Change::Add { role, hash } => return add(users, name, role, hash),
            Change::Remove => {
                self.find(users, name)?;
                users.remove(name);
            }
            Change::Role(role) => self.find(users, name)?.role = role,
            Change::Password(hash) => self.find(users, name)?.password = hash,
            Change::SignOut => {
                let user = self.find(users, name)?;
                let last = user.signed_out.map_or(0, |at| at.0);
                // One after the other within a millisecond, or with a clock that steps, is a change too.
                user.signed_out = Some(Timestamp(clock().wall.0.max(last + 1)));
            }
        }
        Ok(())
    }

    fn find<'users>(
        &self,
        users: &'users mut Users,
        name: &str,
    ) -> Result<&'users mut User, UsersError> {
        users.get_mut(name).ok_or_else(|| {
            UsersError::Unknown(format!(
                "there is no user {name} in {}; `ebbtide user list` shows who there is",
                self.path.display()
            ))
        })
    }

    /// Does `work` with the file's lock held, and puts what comes of it in the file's place.
    fn change(
        &self,
        work: impl FnOnce(&mut Users) -> Result<(), UsersError>,
    ) -> Result<(), UsersError> {
        let failed = |error: io::Error| file_error(&self.path, &error);
        let locked = lock(&self.path).map_err(failed)?;
        let mut users = read(&self.path)?;
        work(&mut users)?;
        let owner = owner(&self.path, &locked).map_err(failed)?;
        replace(&self.path, &render(&users)?, owner).map_err(failed)
    }
}

fn add(users: &mut Users, name: &str, role: Role, hash: String) -> Result<(), UsersError> {
    check_name(name)?;
    if users.contains_key(name) {
        return Err(exists(name));
    }
    if users.len() >= USERS_MAX {
        let text = format!("there are {USERS_MAX} users already; remove others first");
        return Err(UsersError::Conflict(text));
    }
    let user = User {
        role,
        created: Timestamp(clock().wall.0),
        password: hash,
        signed_out: None,
    };
    users.insert(name.to_owned(), user);
    Ok(())
}

fn has_admin(users: &Users) -> bool {
    users.values().any(|user| user.role == Role::Admin)
}

/// Why the last admin stays one.
pub(crate) fn last_admin(name: &str) -> String {
    format!(
        "{name} is the only user with the role admin, and without one nobody could change users in the \
         console: give somebody else the role first, or use `ebbtide user` on the node's own machine"
    )
}

fn check_name(name: &str) -> Result<(), UsersError> {
    if is_name(name) {
        return Ok(());
    }
    Err(UsersError::Invalid(format!(
        "{name:?} is no user's name: 1 to 64 letters, digits, `-`, `_`, `.`, beginning with a letter or \
         digit"
    )))
}

fn exists(name: &str) -> UsersError {
    UsersError::Conflict(format!(
        "there is a user {name} already; `ebbtide user password {name}` sets another password, \
         `ebbtide user role {name} ROLE` another role"
    ))
}

fn file_error(path: &Path, error: &io::Error) -> UsersError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; only the user that Ebbtide runs as, and root, may read and change it, and for a change the \
             directory must be theirs, too"
        }
        _ => "",
    };
    UsersError::Io(format!(
        "the file of users {}: {error}{hint}",
        path.display()
    ))
}

fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Root does not make files where a link leads that whoever has the directory has put there.
            let flags = OFlags::NOFOLLOW.bits().cast_signed();
            options
                .create(true)
                .mode(0o600)
                .custom_flags(flags)
                .open(path)
        }
        opened => opened,
    }
}

/// Opens the file, made if it is missing, and waits until no other command changes it.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = open_or_make(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let (held, there) = (file.metadata()?, fs::metadata(path));
        // Whoever held it before may have put another file in its place.
        match there {
            Ok(there) if there.dev() == held.dev() && there.ino() == held.ino() => {
                return Ok(file);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

/// Whose the file is to be. A file that root has just made would be closed to the node, so it goes to
/// whoever has the directory.
fn owner(path: &Path, file: &File) -> io::Result<(u32, u32)> {
    let metadata = file.metadata()?;
    if metadata.len() > 0 {
        return Ok((metadata.uid(), metadata.gid()));
    }
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = fs::metadata(directory.unwrap_or(Path::new(".")))?;
    Ok((directory.uid(), directory.gid()))
}

fn render(users: &Users) -> Result<String, UsersError> {
    let text = toml::to_string(users)
        .map_err(|error| UsersError::File(format!("the users cannot be written: {error}")))?;
    Ok(format!("{HEADER}\n{text}"))
}

fn replace(path: &Path, text: &str, (uid, gid): (u32, u32)) -> io::Result<()> {
    let mut fresh_path = path.as_os_str().to_owned();
    fresh_path.push(".new");
    let fresh_path = PathBuf::from(fresh_path);
    match fs::remove_file(&fresh_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut fresh = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh_path)?;
    fresh.write_all(text.as_bytes())?;
    let own = fresh.metadata()?;
    if (own.uid(), own.gid()) != (uid, gid) {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchown(&fresh, owner.0, owner.1)?;
    }
    fresh.sync_all()?;
    fs::rename(&fresh_path, path)?;
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads and checks the file; one that is not there has nobody in it.
fn read(path: &Path) -> Result<Users, UsersError> {
    let mut text = String::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Users::new()),
        Err(error) => return Err(file_error(path, &error)),
    };
    let wrong = |what: String| UsersError::File(format!("{}: {what}", path.display()));
    let mode = file
        .metadata()
        .map_err(|error| file_error(path, &error))?
        .mode()
        & 0o7777;
    if mode & MODE_REFUSED != 0 {
        return Err(wrong(format!(
            "others than its owner may change it, or anybody may read it (mode {mode:03o}); look whether \
             these are your users, then `chmod 600 {}`",
            path.display()
        )));
    }
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| file_error(path, &error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let what = format!("larger than {FILE_BYTES_MAX} bytes; no file of users is");
        return Err(wrong(what));
    }
    // Without the line itself: a password may stand there.
    let mistaken = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |before| before.matches('\n').count() + 1);
        wrong(format!("line {line}: {}", error.message()))
    };
    let users: Users = toml::from_str(&text).map_err(mistaken)?;
    if users.len() > USERS_MAX {
        return Err(wrong(format!("more than {USERS_MAX} users")));
    }
    for (name, user) in &users {
        check_name(name).map_err(|error| wrong(error.to_string()))?;
        password::check_hash(&user.password).map_err(|what| wrong(format!("{name}: {what}")))?;
    }
    Ok(users)
}

/// Tells one state of the file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    file: (u64, u64, u64),
    changed: (i64, i64),
}

impl From<Metadata> for Mark {
    fn from(metadata: Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino(), metadata.size()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The file of users, as a node follows it.
pub(super) struct Watched {
    path: PathBuf,
    mark: Option<Mark>,
    users: Users,
    /// Why what stands in the file now is not what counts.
    problem: Option<String>,
    /// It could not be read, and may be another time.
    is_unread: bool,
}

impl Watched {
    /// Reads the file for the first time. One that cannot be read has nobody in it, and says why.
    pub fn new(path: PathBuf) -> Self {
        let mut watched = Self {
            path,
            mark: None,
            users: Users::new(),
            problem: None,
            is_unread: false,
        };
        watched.mark = watched.look();
        watched.read();
        watched
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn find(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &User)> {
        self.users.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Reads the file again if it is another than it was; who has changed, and how. While the file is
    /// mistaken, what it said before goes on counting; a file that is gone has nobody in it.
    pub fn refresh(&mut self) -> Vec<(String, Change)> {
        let mark = self.look();
        if mark == self.mark && !self.is_unread {
            return Vec::new();
        }
        self.mark = mark;
        let before = self.users.clone();
        self.read();
        differences(&before, &self.users)
    }

    fn look(&self) -> Option<Mark> {
        fs::metadata(&self.path).ok().map(Mark::from)
    }

    fn read(&mut self) {
        let found = read(&self.path);
        self.is_unread = matches!(found, Err(UsersError::Io(_)));
        match found {
            Ok(users) => (self.users, self.problem) = (users, None),
            Err(error) => {
                let problem = Some(error.to_string());
                if problem != self.problem {
                    tracing::error!("{error}; the users that were known before go on counting");
                }
                self.problem = problem;
            }
        }
    }
}

/// Who has come, gone and changed: the name, and how.
fn differences(before: &Users, after: &Users) -> Vec<(String, Change)> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), Change::Remove));
    let now = after.iter().filter_map(|(name, user)| {
        let hash = || user.password.clone();
        let change = match before.get(name) {
            None => Change::Add {
                role: user.role,
                hash: hash(),
            },
            Some(old) if old.role != user.role => Change::Role(user.role),
            Some(old) if old.password != user.password => Change::Password(hash()),
            Some(old) if old.signed_out != user.signed_out => Change::SignOut,
            Some(_) => return None,
        };
        Some((name.clone(), change))
    });
    gone.chain(now).collect()
}
