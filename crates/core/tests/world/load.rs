//! What exporters tell, by script.

use super::World;
use ebbtide_core::{Input, Load, MachineStatus, ServerName};

impl World {
    /// `load app/web1 34`, `load app/web1 unknown`, or `load app/web1 fails why`.
    pub(super) fn read_load(&mut self, server: &str, read: &[&str]) -> Vec<String> {
        let read = match read {
            ["fails", why @ ..] => Err(why.join(" ")),
            ["unknown"] => Ok(None),
            [percent] => Ok(Some(Load::from_percent(percent.parse().unwrap()))),
            other => panic!("a load of {other:?} means nothing"),
        };
        let server = ServerName::parse(server).unwrap();
        let exporter = format!("http://127.0.0.1/{}", server.server);
        let mut said = self.step(Input::LoadRead {
            server,
            exporter,
            read,
        });
        said.extend(self.step(Input::Tick));
        said
    }
}

/// How busy a machine is, in the words of a transcript.
pub(super) fn machine(machine: &MachineStatus) -> String {
    let load = machine.load.map_or("load unknown".into(), |load| {
        let age = machine.age.expect("a load has an age");
        format!("load {load} {age} ago")
    });
    let lost = machine.no_metrics.iter();
    let lost: String = lost.map(|why| format!(", no metrics: {why}")).collect();
    let over_peak = machine.over_peak.iter();
    let over_peak: String = over_peak.map(|why| format!(" ({why})")).collect();
    format!(", {load}{lost}{over_peak}")
}
