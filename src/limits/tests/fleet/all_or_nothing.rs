//! A request that the fifth of five policies refuses, some of them shared and some counted here, changes none of them.

use super::{Fleet, MILLI, SECOND};
use crate::limits::Audience;
use crate::limits::tests::world::ASK;

const REPLICAS: usize = 2;
const WIDE: u32 = 1_000;

/// Four wide policies, and a small one after them that is shared or not.
fn policies(last: &str) -> String {
    format!(
        r#"policies = [
            {{ name = "mine", per = ["token"], quota = "{WIDE} per month" }},
            {{ name = "here", per = ["workspace"], quota = "{WIDE} per month", shared = "off" }},
            {{ name = "ours", per = ["workspace"], quota = "{WIDE} per month" }},
            {{ name = "calls", per = ["plan"], quota = "{WIDE} per month", shared = "off" }},
            {{ name = "small", per = ["token"], quota = "20 per minute", burst = 3{last} }},
        ]"#
    )
}

/// What a replica says is left of a policy.
fn left(fleet: &Fleet, replica: usize, policy: &str) -> u32 {
    let caller = ASK.caller().unwrap();
    let limits = &fleet.replicas[replica].limits;
    let rows = limits.standing(&caller, ASK.address(), fleet.clock_of(replica), Audience::Caller);
    rows.iter().find(|row| &*row.name == policy).unwrap().headroom.unwrap().remaining()
}

#[test]
fn what_the_fifth_refuses_the_others_do_not_count() {
    for last in ["", r#", shared = "off""#] {
        let mut fleet = Fleet::new(1, REPLICAS, &policies(last));
        // Far more often than the small one admits, for five minutes; nothing of the wide ones comes back.
        for at in 0..6_000_u64 {
            fleet.request(SECOND + at * 50 * MILLI, (at % 7 % 2) as usize, &ASK);
        }
        fleet.run();
        let admitted = fleet.admitted().count();
        assert!((100..=210).contains(&admitted), "{admitted}");
        let admitted = u32::try_from(admitted).unwrap();
        let known = |policy| (0..REPLICAS).map(move |replica| (replica, policy));
        for policy in ["mine", "ours"] {
            let least = known(policy).map(|(replica, policy)| left(&fleet, replica, policy)).min();
            assert_eq!(least, Some(WIDE - admitted), "{policy}{last}");
        }
        for policy in ["here", "calls"] {
            let used: u32 = known(policy).map(|(replica, policy)| WIDE - left(&fleet, replica, policy)).sum();
            assert_eq!(used, admitted, "{policy}{last}");
        }
    }
}

/// The store's own state, and every bucket here, before and after nothing but refusals.
#[test]
fn refusals_leave_every_bucket_as_it_was() {
    for last in ["", r#", shared = "off""#] {
        let mut fleet = Fleet::new(2, 1, &policies(last));
        for at in 0..3 {
            fleet.request(SECOND + at * 10 * MILLI, 0, &ASK);
        }
        fleet.run();
        assert_eq!(fleet.admitted().count(), 3);
        let all = ["mine", "here", "ours", "calls", "small"];
        let state = |fleet: &Fleet| (format!("{:?}", fleet.model), all.map(|policy| left(fleet, 0, policy)));
        let before = state(&fleet);
        for at in 0..200 {
            fleet.request(SECOND + 500 * MILLI + at * 10 * MILLI, 0, &ASK);
        }
        fleet.run();
        assert_eq!(fleet.admitted().count(), 3);
        assert_eq!(state(&fleet), before, "{last}");
    }
}
