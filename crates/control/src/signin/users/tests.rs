//! The file of users, changed and followed.

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

const SECRET: &str = "correct horse battery";

fn scratch(name: &str) -> PathBuf {
    let name = format!("ebbtide-users-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    drop(fs::remove_dir_all(&path));
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn users_come_change_and_go_and_a_node_sees_each_change() {
    let directory = scratch("changes");
    let path = directory.join(USERS_FILE);
    let file = UsersFile::new(path.clone());
    let mut node = Watched::new(path.clone());
    assert!(node.is_empty() && node.problem().is_none());

    file.add("anna.b", Role::Operator, SECRET).unwrap();
    let mode = fs::metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = |node: &mut Watched| {
        let lines = node.refresh().into_iter();
        let lines = lines.map(|(name, change)| change.outcome(&name));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(&mut node), "the user anna.b has the role operator");
    assert_eq!(said(&mut node), "");
    let user = node.find("anna.b").unwrap().clone();
    assert!(password::verify(SECRET, &user.password));
    assert!(!password::verify("correct horse batterz", &user.password));

    let mut stamps = vec![user.stamp()];
    let mut change = |work: &dyn Fn() -> Result<(), UsersError>, told: &str| {
        work().unwrap();
        assert_eq!(said(&mut node), told);
        let stamp = node.find("anna.b").unwrap().stamp();
        assert!(!stamps.contains(&stamp), "{told}");
        stamps.push(stamp);
    };
    change(
        &|| file.set_role("anna.b", Role::Viewer),
        "the user anna.b has the role viewer now",
    );
    change(
        &|| file.set_password("anna.b", "another good one"),
        "the user anna.b has another password",
    );
    let out = "the user anna.b is signed out everywhere";
    change(&|| file.sign_out("anna.b"), out);
    change(&|| file.sign_out("anna.b"), out);

    file.remove("anna.b").unwrap();
    // When it could not be read at first, it is read again although it is as it was.
    node.mark = node.look();
    assert!(node.refresh().is_empty());
    node.is_unread = true;
    assert_eq!(said(&mut node), "the user anna.b is no more");
    assert!(node.is_empty());
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_is_wrong_with_the_file_is_told_without_what_stands_there() {
    let directory = scratch("mistaken");
    let path = directory.join(USERS_FILE);
    fs::write(
        &path,
        "[anna]\nrole = \"admin\"\npassword = \"$argon2id$hash\n",
    )
    .unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let node = Watched::new(path);
    let problem = node.problem().unwrap();
    assert!(problem.contains("line 3: "), "{problem}");
    assert!(!problem.contains("argon2id"), "{problem}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_file_that_others_can_change_or_all_can_read_does_not_count() {
    let directory = scratch("mode");
    let path = directory.join(USERS_FILE);
    let file = UsersFile::new(path.clone());
    file.add("anna", Role::Admin, SECRET).unwrap();
    let mut node = Watched::new(path.clone());
    let mut set = |mode| {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        // Who was known goes on counting, so nobody has changed.
        assert!(node.refresh().is_empty());
        node.problem().map(str::to_owned)
    };
    for mode in [0o620, 0o604, 0o602, 0o666] {
        let problem = set(mode).unwrap();
        let says = format!("mode {mode:03o}); look whether these are your users");
        assert!(problem.contains(&says), "{problem}");
        assert!(Watched::new(path.clone()).is_empty());
        assert!(matches!(file.list(), Err(UsersError::File(_))));
    }
    assert_eq!([set(0o400), set(0o640), set(0o600)], [None, None, None]);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let directory = scratch("refused");
    let file = UsersFile::new(directory.join(USERS_FILE));
    let text = |result: Result<(), UsersError>| match result {
        Err(UsersError::Invalid(text) | UsersError::Unknown(text) | UsersError::Conflict(text)) => {
            text
        }
        other => panic!("not refused: {other:?}"),
    };
    file.add("anna", Role::Admin, SECRET).unwrap();
    assert!(text(file.add("anna", Role::Viewer, SECRET)).contains("already"));
    assert!(text(file.check_new("anna")).contains("already"));
    assert!(text(file.add("a b", Role::Viewer, SECRET)).contains("letters"));
    assert!(text(file.add(&"a".repeat(65), Role::Viewer, SECRET)).contains("1 to 64"));
    assert!(text(file.add("bob", Role::Viewer, "elevenchars")).contains("12"));
    assert!(text(file.set_password("anna", "short")).contains("12"));
    for result in [
        file.remove("bob"),
        file.set_role("bob", Role::Viewer),
        file.sign_out("bob"),
        file.check_known("bob"),
    ] {
        assert!(text(result).contains("no user bob"));
    }
    let listed = file.list().unwrap();
    assert_eq!((listed.len(), listed[0].role), (1, Role::Admin));
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn by_the_api_an_admin_stays_and_nothing_is_no_change() {
    let directory = scratch("guarded");
    let path = directory.join(USERS_FILE);
    let file = UsersFile::new(path.clone());
    let refused = |name: &str, change| match file.make_guarded(name, change, None) {
        Err(UsersError::Conflict(text)) => text,
        other => panic!("not refused: {other:?}"),
    };
    file.add("anna", Role::Admin, SECRET).unwrap();
    file.add("boris", Role::Viewer, SECRET).unwrap();
    let before = fs::read_to_string(&path).unwrap();
    for change in [Change::Remove, Change::Role(Role::Operator)] {
        assert!(refused("anna", change).contains("only user with the role admin"));
    }
    let same = refused("boris", Change::Role(Role::Viewer));
    assert!(same.contains("already"), "{same}");
    let of_another = Some("no stamp of his");
    let late = file.make_guarded("boris", Change::SignOut, of_another);
    assert!(matches!(late, Err(UsersError::Conflict(text)) if text.contains("meanwhile")));
    assert_eq!(before, fs::read_to_string(&path).unwrap());

    let more = Change::Role(Role::Admin);
    file.make_guarded("boris", more, None).unwrap();
    file.make_guarded("anna", Change::Remove, None).unwrap();
    // Whoever has the machine needs nobody's leave, and where there is no admin none can be lost.
    file.set_role("boris", Role::Viewer).unwrap();
    file.make_guarded("boris", Change::SignOut, None).unwrap();
    file.make_guarded("boris", Change::Remove, None).unwrap();
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_mistaken_file_keeps_who_was_known_and_is_told_of() {
    let directory = scratch("mistaken");
    let path = directory.join(USERS_FILE);
    UsersFile::new(path.clone())
        .add("anna", Role::Admin, SECRET)
        .unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let mut node = Watched::new(path.clone());
    for wrong in [
        "[anna]\nrole = \"boss\"\n".to_owned(),
        good.replace("argon2id", "argon2i"),
        good.replace("m=19456", "m=99999999"),
        good.replace("[anna]", "[\"an na\"]"),
        good.replace("role =", "shoe_size = 3\nrole ="),
    ] {
        fs::write(&path, &wrong).unwrap();
        assert!(node.refresh().is_empty());
        let problem = node.problem().unwrap();
        assert!(problem.contains(&path.display().to_string()), "{problem}");
        assert!(node.find("anna").is_some(), "{wrong}");
        assert!(Watched::new(path.clone()).is_empty());
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(node.refresh().len(), 1);
    assert!(node.is_empty() && node.problem().is_none());
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn commands_at_once_lose_nothing() {
    let directory = scratch("at-once");
    let path = directory.join(USERS_FILE);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let file = UsersFile::new(path.clone());
            scope.spawn(move || {
                let name = format!("user{number}");
                file.add(&name, Role::Viewer, SECRET).unwrap();
            });
        }
    });
    assert_eq!(UsersFile::new(path).list().unwrap().len(), 8);
    fs::remove_dir_all(&directory).unwrap();
}
