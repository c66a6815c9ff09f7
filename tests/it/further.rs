//! What worlds have that were asked for more than their scenario, against what is made of it.
//!
//! Everything that [`check`] compares holds there too; beside it stands what is peculiar to each.

use std::collections::BTreeSet;

use crate::truth::check;
use crate::world::{World, number, seeds, word};

const SESSIONS: &str = "SELECT session_id, state FROM sessions WHERE session_id IS NOT NULL";

/// Two tabs are one session, and a session that another follows is over, whatever came of which first.
#[test]
fn tabs_share_a_session_and_go_over_to_the_next() {
    for seed in seeds() {
        let options = ["--with", "tabs", "--duration", "30s", "--annotate", "all", "--reorder"];
        let world = World::new("steady", seed, &options, &[]);
        check(&world, 0.01, 0);
        let rows = world.ethogram.sql(SESSIONS);
        assert_eq!(rows.len() as i64, world.total("sessions"));
        let over: BTreeSet<&str> = rows
            .iter()
            .filter(|row| word(row, "state") == "closed")
            .map(|row| word(row, "session_id"))
            .collect();
        let followed: BTreeSet<&str> =
            world.details("session").filter_map(|session| session["previous"].as_str()).collect();
        assert_eq!(over, followed);
        let rows = world.ethogram.sql(
            "SELECT count(DISTINCT tab_id) AS tabs, count(DISTINCT page_id) AS pages FROM events",
        );
        assert_eq!(number(&rows[0], "tabs"), world.total("tabs"));
        assert_eq!(number(&rows[0], "pages"), world.total("pages"));
        // Without both of these the world has shown nothing.
        let (tabs, sessions) = (world.total("tabs"), world.total("sessions"));
        let visits = sessions - followed.len() as i64;
        assert!(tabs > visits + 20 && followed.len() > 20, "{tabs} tabs of {visits} visits");
    }
}

/// The hop at which a proxy sends again has its sends; the gateway has one span for all of them.
#[test]
fn what_a_proxy_sends_again_is_an_attempt_at_its_hop() {
    for (annotate, tolerance) in [("all", 0.01), ("none", 0.05)] {
        for seed in seeds() {
            let options = ["--with", "proxies", "--duration", "18s", "--annotate", annotate];
            let world = World::new("bad-deploy", seed, &options, &[]);
            check(&world, tolerance, 80);
            let rows = world.ethogram.sql(
                "SELECT count(*) AS again, count(*) FILTER (WHERE retry_evidence = 'envoy') AS said \
                 FROM spans WHERE is_send AND kind = 'server' AND callee = 'cart' AND attempt > 1",
            );
            let (again, said) = (number(&rows[0], "again"), number(&rows[0], "said"));
            assert!(again > 50, "{again} were sent again by the proxy");
            assert_eq!(said, if annotate == "all" { again } else { 0 });
        }
    }
}

/// What the gateway's own loops have counted of their sends to a service.
fn counted(world: &World, service: &str, count: &str) -> i64 {
    let hops = world.truth["hops"].as_array().expect("a list of hops").iter();
    let meant =
        hops.filter(|hop| word(hop, "caller") == "gateway" && word(hop, "service") == service);
    meant.map(|hop| number(&hop["counts"], count)).sum()
}

/// What is sent while another one is awaited is a hedge, whoever says so.
#[test]
fn hedges_are_counted_as_such() {
    for (annotate, tolerance) in [("all", 0.01), ("none", 0.05)] {
        for seed in seeds() {
            let options = ["--with", "hedges", "--duration", "18s", "--annotate", annotate];
            let world = World::new("pool-exhaustion", seed, &options, &[]);
            check(&world, tolerance, 100);
            let rows = world.ethogram.sql(
                "SELECT sum(hedges) AS hedges, sum(retries) AS retries FROM amplification \
                 WHERE caller = 'gateway' AND service = 'catalog'",
            );
            for count in ["hedges", "retries"] {
                let (found, was) = (number(&rows[0], count), counted(&world, "catalog", count));
                assert!(was > 20, "{was} {count}");
                let off = (found - was).unsigned_abs() as f64;
                assert!(off <= tolerance * was as f64, "{found} {count} instead of {was}");
            }
            let rows = world.ethogram.sql("SELECT sum(hedges) AS hedges FROM amplification");
            let (found, was) = (number(&rows[0], "hedges"), counted(&world, "catalog", "hedges"));
            assert!(found - was <= was / 20, "{found} hedges, of {was}");
        }
    }
}

/// A request that is sent again with another token is the same attempt, and the next retry the second.
#[test]
fn answers_to_challenges_are_no_attempts() {
    for seed in seeds() {
        let options = ["--with", "challenges", "--duration", "18s", "--annotate", "all"];
        let world = World::new("bad-deploy", seed, &options, &[]);
        check(&world, 0.01, 80);
        let resends = counted(&world, "cart", "resends");
        assert!(resends > 20, "{resends}");
        let sql = "SELECT count(*) FROM spans WHERE attempt_kind = 'resend' AND NOT is_send";
        world.ethogram.wait_for_value(sql, resends);
    }
}
