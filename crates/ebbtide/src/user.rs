//! `ebbtide user`: the file of those who may sign in to the console.

mod password;

use crate::cli::{Global, UserArgs, UserCommand};
use crate::exit::{Exit, Failure};
use crate::operate::print_table;
use crate::{config, output, target};
use ebbtide_control::{ListedUser, USERS_FILE, UsersError, UsersFile};
use std::path::{Path, PathBuf};

const STATE_DIR: &str = "/var/lib/ebbtide";

impl From<UsersError> for Failure {
    fn from(error: UsersError) -> Self {
        match error {
            UsersError::Invalid(text) => Self::usage(text),
            UsersError::Unknown(text)
            | UsersError::Conflict(text)
            | UsersError::File(text)
            | UsersError::Io(text) => Self::failed(text),
        }
    }
}

/// Carries out one command.
pub async fn run(arguments: UserArgs, global: &Global) -> Result<Exit, Failure> {
    let file = match arguments.file {
        Some(file) => file,
        None => find(global).await?,
    };
    let users = UsersFile::new(file);
    let text = match arguments.command {
        UserCommand::List => return list(&users, global.json),
        UserCommand::Add {
            name,
            role,
            password,
        } => {
            users.check_new(&name)?;
            let secret = password::ask(&users, &name, password).await?;
            let role = role.into();
            users.add(&name, role, &secret)?;
            format!("the user {name} has the role {role}")
        }
        UserCommand::Remove { name } => {
            users.remove(&name)?;
            format!("the user {name} is no more, and signed out")
        }
        UserCommand::Password { name, password } => {
            users.check_known(&name)?;
            let secret = password::ask(&users, &name, password).await?;
            users.set_password(&name, &secret)?;
            format!("the user {name} has another password, and is signed out")
        }
        UserCommand::Role { name, role } => {
            let role = role.into();
            users.set_role(&name, role)?;
            format!("the user {name} has the role {role} now, and is signed out")
        }
        UserCommand::SignOut { name } => {
            users.sign_out(&name)?;
            format!("the user {name} is signed out everywhere")
        }
    };
    let file = users.path().display().to_string();
    match global.json {
        true => output::json(&serde_json::json!({ "text": text, "file": file })),
        false => output::line(format!("{text} ({file})")),
    }
    Ok(Exit::Done)
}

fn list(users: &UsersFile, json: bool) -> Result<Exit, Failure> {
    let listed = users.list()?;
    let file = users.path().display().to_string();
    if json {
        let shown = listed.iter().map(|user| {
            serde_json::json!({
                "name": user.name, "role": user.role, "created": user.created,
            })
        });
        let shown: Vec<_> = shown.collect();
        output::json(&serde_json::json!({ "file": file, "users": shown }));
        return Ok(Exit::Done);
    }
    let rows = listed.into_iter().map(
        |ListedUser {
             name,
             role,
             created,
         }| vec![name, role.to_string(), created.to_string()],
    );
    print_table(
        &["NAME", "ROLE", "CREATED"],
        rows,
        &format!("no users in {file}"),
    );
    Ok(Exit::Done)
}

/// The file of the node that is meant; where none runs, of the one that would.
async fn find(global: &Global) -> Result<PathBuf, Failure> {
    let is_named = global.admin.as_ref();
    if is_named.is_some_and(|admin| !admin.starts_with("unix:")) {
        return Err(Failure::usage(
            "`ebbtide user` works on the node's own machine: name its socket (--admin unix:PATH), or the \
             file of users (--file FILE)",
        ));
    }
    match target::client(global) {
        Ok(client) => Ok(client.users().await?.file.into()),
        Err(failure) if is_named.is_some() || failure.exit == Exit::Usage => Err(failure),
        Err(_) => without_node().ok_or_else(|| {
            Failure::failed(format!(
                "no Ebbtide runs here, there is no ./ebbtide.toml, and no {STATE_DIR}; name the file of \
                 users with --file (by default it is `{USERS_FILE}` in `state_dir`)"
            ))
        }),
    }
}

fn without_node() -> Option<PathBuf> {
    let usual = Path::new(STATE_DIR);
    config::users_file(Path::new("ebbtide.toml"))
        .or_else(|| usual.is_dir().then(|| usual.join(USERS_FILE)))
}
