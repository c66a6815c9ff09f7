//! What the program says about itself arrives where its operator wants it: one Ethogram tells another.

use crate::harness::Ethogram;

/// The supervisor and the two roles: each is a process that speaks for itself.
const PARTS: usize = 3;

/// Starts of a role: a span of its own each, from the process's first moment until it served.
fn starts(role: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "SELECT count(*) AS n FROM spans \
         WHERE service = 'ethogram-{role}' AND service_version = '{version}' \
         AND name = 'start' AND kind = 'internal' AND duration_us > 0 \
         AND attributes['ethogram.role'] = '{role}'"
    )
}

/// Whether a supervisor's numbers of a role are ever what `condition` says.
fn supervisor(role: &str, metric: &str, condition: &str) -> String {
    format!(
        "SELECT count(*) > 0 AS ever FROM metrics \
         WHERE service = 'ethogram-supervisor' AND name = '{metric}' AND {condition} \
         AND attributes['ethogram.role'] = '{role}'"
    )
}

#[test]
fn one_ethogram_tells_another_of_its_roles() {
    let watcher = Ethogram::start(&[]);
    let endpoint = format!("--telemetry-otlp-endpoint=http://{}", watcher.at.otlp_grpc);
    let watched = Ethogram::start(&[&endpoint, "--telemetry-interval-s=1"]);
    for role in ["collector", "query"] {
        watcher.wait_for_value(&starts(role), 1);
        let up = supervisor(role, "ethogram.role.up", "kind = 'gauge' AND value = 1");
        watcher.wait_for_value(&up, true);
    }
    // No process runs in less than a mebibyte.
    let sizes = "SELECT count(DISTINCT service) AS n FROM metrics \
                 WHERE name = 'process.memory.usage' AND unit = 'By' AND value > 1048576";
    watcher.wait_for_value(sizes, PARTS);
    let times = "SELECT count(DISTINCT service) AS n FROM metrics \
                 WHERE name = 'process.cpu.time' AND kind = 'sum' AND monotonic AND unit = 's'";
    watcher.wait_for_value(times, PARTS);

    // A role that dies is told of by its supervisor, and its successor by itself.
    watched.kill_role("query");
    watcher.wait_for_value(&starts("query"), 2);
    let restarts = |role| {
        supervisor(role, "ethogram.role.restarts", "kind = 'sum' AND monotonic AND value = 1")
    };
    watcher.wait_for_value(&restarts("query"), true);
    watcher.wait_for_value(&restarts("collector"), false);
}
