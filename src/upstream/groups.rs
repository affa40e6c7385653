//! The upstreams of every region, under one configuration.
//!
//! [`Groups`] belongs to a configuration and is immutable but for its atomics. A new one takes over from the one
//! before it, region by region, whatever has not changed: the servers' breakers, ejections, limits and checks,
//! the names' addresses, and the workspaces' places. Regions never share anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::names::Name;
use super::rules::Rules;
use super::server::{Server, ServerStatus, shortest_wait};
use super::share::{Place, Share};
use super::{Checked, Fault, FieldRules, PoolSettings, Upstream};
use crate::clock::Now;
use crate::domain::{RegionId, Subject};

/// The upstreams of every region.
pub struct Groups {
    pub(super) by_region: Vec<Arc<Group>>,
    pub(super) pool: PoolSettings,
    pub(super) fields: FieldRules,
}

/// One region's upstreams.
pub(super) struct Group {
    region: Arc<str>,
    origins: Vec<Origin>,
    members: ArcSwap<Vec<Member>>,
    /// The names' generations that `members` was made from, added up.
    followed: AtomicU64,
    share: Arc<Share>,
    pub(super) rules: Rules,
    pub(super) budget_exhausted: Arc<AtomicU64>,
    /// Held while it is decided whether one more may be ejected.
    ejecting: Mutex<()>,
}

/// An upstream as configured.
struct Origin {
    upstream: Arc<Upstream>,
    source: Source,
}

enum Source {
    Address(IpAddr),
    Name(Arc<Name>),
}

/// A server of a group.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) upstream: Arc<Upstream>,
    pub(super) server: Arc<Server>,
}

impl Groups {
    /// The groups of a configuration, which take over what they can from those before.
    pub fn new(checked: Checked, previous: Option<&Self>) -> Self {
        let find = |region: &str| {
            previous.and_then(|groups| groups.by_region.iter().find(|group| *group.region == *region))
        };
        let by_region = checked
            .regions
            .into_iter()
            .map(|(region, upstreams)| {
                let before = find(&region).map(|group| &**group);
                Arc::new(Group::new(region, upstreams, checked.rules.clone(), before))
            })
            .collect();
        Self { by_region, pool: checked.pool, fields: checked.fields }
    }

    /// Resolves every name that has no address yet, for so long at most. Names that take longer or fail are
    /// resolved by [`care`](super::care()).
    pub fn resolve(&self, within: Duration) {
        let (answered, answers) = mpsc::channel::<()>();
        for name in self.by_region.iter().flat_map(|group| group.names()) {
            if name.addresses().is_empty() {
                let answered = answered.clone();
                name.resolve(move || drop(answered));
            }
        }
        drop(answered);
        // Nothing is ever sent: the channel ends when the last name has been answered.
        let _ = answers.recv_timeout(within);
        for group in &self.by_region {
            group.follow_names();
        }
    }

    /// Whether a workspace may have one more request served in a region; asked before anything is counted.
    pub fn has_room(&self, region: RegionId, workspace: Subject, now: Now) -> Result<(), Fault> {
        self.group(region).map_or(Ok(()), |group| group.has_room(workspace, now))
    }

    /// Takes one of the workspace's places in a region, to be held until the answer is written.
    pub fn take_place(&self, region: RegionId, workspace: Subject) -> Option<Place> {
        self.group(region).map(|group| group.share.take(workspace))
    }

    /// How every server is.
    pub fn status(&self, now: Now) -> Vec<ServerStatus> {
        let of_group = |group: &Arc<Group>| -> Vec<ServerStatus> {
            let members = group.members();
            members.iter().map(|member| ServerStatus::of(&group.region, &member.server, now)).collect()
        };
        self.by_region.iter().flat_map(of_group).collect()
    }

    /// How often each region's requests could not be sent again because the budget was used up.
    pub fn budget_exhausted(&self) -> Vec<(Arc<str>, u64)> {
        let count =
            |group: &Arc<Group>| (Arc::clone(&group.region), group.budget_exhausted.load(Ordering::Relaxed));
        self.by_region.iter().map(count).collect()
    }

    pub(super) fn group(&self, region: RegionId) -> Option<&Arc<Group>> {
        self.by_region.get(usize::from(region.0))
    }
}

impl Group {
    fn new(region: Arc<str>, upstreams: Vec<Upstream>, rules: Rules, before: Option<&Self>) -> Self {
        let origin = |upstream: Upstream| {
            let source = match upstream.host.parse() {
                Ok(address) => Source::Address(address),
                Err(_) => Source::Name(
                    before
                        .and_then(|group| group.names().find(|name| name.host == upstream.host).cloned())
                        .unwrap_or_else(|| Arc::new(Name::new(&upstream.host))),
                ),
            };
            Origin { upstream: Arc::new(upstream), source }
        };
        let group = Self {
            origins: upstreams.into_iter().map(origin).collect(),
            members: ArcSwap::default(),
            followed: AtomicU64::new(0),
            share: before.map_or_else(Arc::default, |group| Arc::clone(&group.share)),
            budget_exhausted: before.map_or_else(Arc::default, |group| Arc::clone(&group.budget_exhausted)),
            ejecting: Mutex::new(()),
            region,
            rules,
        };
        let known =
            before.filter(|before| before.rules == group.rules).map(Self::members).unwrap_or_default();
        group.make_members(&known);
        group
    }

    pub(super) fn members(&self) -> Arc<Vec<Member>> {
        self.members.load_full()
    }

    /// Whether these are still the group's servers.
    pub(super) fn has_members(&self, members: &Arc<Vec<Member>>) -> bool {
        Arc::ptr_eq(&self.members.load(), members)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<Name>> {
        self.origins.iter().filter_map(|origin| match &origin.source {
            Source::Name(name) => Some(name),
            Source::Address(_) => None,
        })
    }

    /// Makes the group's servers anew if a name has got new addresses.
    pub(super) fn follow_names(&self) {
        let generation: u64 = self.names().map(|name| name.generation()).sum();
        if generation != self.followed.load(Ordering::Acquire) {
            self.make_members(&self.members());
        }
    }

    fn make_members(&self, known: &[Member]) {
        let generation: u64 = self.names().map(|name| name.generation()).sum();
        let mut members = Vec::new();
        for Origin { upstream, source } in &self.origins {
            let (addresses, is_named) = match source {
                Source::Address(address) => (Arc::new(vec![*address]), false),
                Source::Name(name) => (name.addresses(), true),
            };
            for address in addresses.iter() {
                let address = SocketAddr::new(*address, upstream.port);
                let label = if is_named {
                    format!("{} ({address})", upstream.url).into()
                } else {
                    Arc::clone(&upstream.url)
                };
                let taken_over = known.iter().find(|member| member.server.label == label);
                let server = taken_over.map_or_else(
                    || Arc::new(Server::new(label, address, &self.rules)),
                    |member| Arc::clone(&member.server),
                );
                members.push(Member { upstream: Arc::clone(upstream), server });
            }
        }
        members.truncate(MOST_SERVERS);
        self.members.store(Arc::new(members));
        self.followed.store(generation, Ordering::Release);
    }

    fn has_room(&self, workspace: Subject, now: Now) -> Result<(), Fault> {
        let members = self.members.load();
        if !members.is_empty() && !members.iter().any(|member| member.server.breaker.may_pass(now)) {
            let wait = shortest_wait(members.iter().map(|member| &*member.server), now);
            return Err(Fault::Open { wait });
        }
        let free = members.iter().map(|member| member.server.free()).fold(0, u32::saturating_add);
        match self.share.may_take(workspace, free, self.rules.in_flight.share_percent) {
            Ok(()) => Ok(()),
            // Without a server, another word says more.
            Err(_) if members.is_empty() => Ok(()),
            Err(_) if free == 0 => Err(Fault::TooManyInFlight),
            Err(held) => Err(Fault::OverShare { held }),
        }
    }

    /// A server failed, or answered with 5xx.
    pub(super) fn server_failed(&self, server: &Server, now: Now) {
        if !server.outlier.failed(&self.rules.ejection) {
            return;
        }
        let members = self.members.load();
        let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let ejected = members.iter().filter(|member| member.server.outlier.is_ejected(now)).count();
        if !server.outlier.is_ejected(now) && (ejected + 1) * 2 <= members.len() {
            server.outlier.eject(now, &self.rules.ejection);
            tracing::warn!(upstream = &*server.label, "ejected: failures or 5xx in a row");
        }
    }
}

/// The most servers of a region, those that names stand for included.
pub(super) const MOST_SERVERS: usize = 64;

#[cfg(test)]
mod tests;
