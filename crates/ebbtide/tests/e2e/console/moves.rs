//! Sessions that go on elsewhere, by clicking: their clients read on.

use super::audited;
use super::desk::Desk;
use crate::harness::text;
use crate::nbd::NAMES;
use crate::nbd::moves::{Scene, nbdkit};
use ebbtide_api::Role;

#[test]
fn a_disk_is_moved_drilled_and_its_server_stopped_by_clicking() {
    let mut scene = Scene::begin(nbdkit);
    let first = scene.read_on(0);
    let id = text(&scene.farm.session().unwrap()["id"]);
    let desk = Desk::sign_in(scene.farm.ebbtide(), "anna", Role::Operator);
    let second = (first + 1) % 3;
    let name = format!("app/{}", NAMES[second]);

    desk.open("/sessions");
    desk.panel(&format!("/do/move?id={id}"));
    let told = desk.text("dialog");
    assert!(told.contains(&format!("app/{}", NAMES[first])), "{told}");
    desk.choose("#p-to", &name);
    desk.wait_for_text("#foretold", &name);
    desk.send();
    assert_eq!(
        text(&scene.farm.session().unwrap()["server"]),
        NAMES[second]
    );
    assert_eq!(audited(scene.farm.ebbtide(), "move")["who"], "anna");
    assert_eq!(scene.read_on(1), second);

    // A drill leaves the server as it was.
    desk.open(&format!("/servers/{name}"));
    desk.panel(&format!("/do/drill?server={name}"));
    desk.wait_for_text("#foretold", "its sessions move");
    desk.click("#p-cut");
    desk.wait_for_text("#foretold", "are cut off");
    desk.click("#p-cut");
    desk.send();
    let third = scene.read_on(2);
    assert_ne!(third, second);
    scene.farm.ebbtide().wait_for_reason(NAMES[second], "ready");
    assert_eq!(audited(scene.farm.ebbtide(), "drill")["who"], "anna");

    let name = format!("app/{}", NAMES[third]);
    desk.open("/");
    desk.panel(&format!("/do/stop?server={name}"));
    assert!(desk.text("dialog").contains("moved at once"));
    desk.fill("#p-within", "5m");
    desk.fill("#p-reason", "new disks");
    desk.send();
    assert_ne!(scene.read_on(3), third);
    scene
        .farm
        .ebbtide()
        .wait_for_reason(NAMES[third], "maintenance");
    let line = audited(scene.farm.ebbtide(), "stop");
    assert_eq!(
        (&line["who"], &line["reason"]),
        (&"anna".into(), &"new disks".into())
    );
    scene.finish();
}
