//! The loop that delivers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backoff::next_attempt;
use super::message::{Contents, Data, LOOKS_BACK_MILLIS, LeakBody, Message, Report};
use super::used::{self, UseBody};
use super::webhook::{self, Refusal, Signed};
use super::{Channel, Checked, Counts, End, OPERATOR, SigningKeys, mail, report, text};
use crate::clock::{Clock, Now};
use crate::domain::Regions;
use crate::journal::{Journal, JournalError};
use crate::tokens::store::{Attempt, Delivery, LogEntry, Recipient};
use crate::tokens::{self, Random, Store};

/// Time between two looks into the outbox.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a message is taken for. Longer than an attempt can last.
const LEASE: Duration = Duration::from_mins(1);
/// For one attempt, all contacts of the operator included.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(45);
/// The most attempts at a time.
const MOST_AT_A_TIME: usize = 16;
/// The most contacts that are remembered as told; beyond, one may be told again.
const MOST_TOLD: usize = 4_096;
/// How long attempts may last that the gateway's end finds under way.
const LAST_ATTEMPTS: Duration = Duration::from_secs(2);
/// How long the journal may take to write what it was told.
const JOURNAL_FLUSH: Duration = Duration::from_secs(1);
/// How long other gateways may take to hand on what they noted, where the message is late anyway.
const OTHERS_HAND_ON: Duration = Duration::from_secs(3);
/// How long after the leak the first attempt stops waiting for them: it is to be made within 2 s.
const HANDED_ON_WITHIN: Duration = Duration::from_millis(1_500);
/// How long they may take all the same: gateways that are well take a fifth of a second.
const LEAST_HAND_ON: Duration = Duration::from_millis(400);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Time between two housekeepings.
const KEEP_HOUSE_EVERY: Duration = Duration::from_mins(1);
/// How long the outbox remembers what was settled.
const SETTLED_KEPT_MILLIS: u64 = 30 * 24 * 3_600_000;
const MOST_FORGOTTEN: u32 = 5_000;

const LATE: &str = "it took too long";
const NOBODY: &str =
    "the workspace has no contacts and the operator has none in `notifications.operator_contacts`";

/// What a [`Notifier`] works with.
pub struct Parts {
    /// Whose outbox is delivered.
    pub store: Arc<dyn Store>,
    /// What tokens did, if that is written down.
    pub journal: Option<Arc<dyn Journal>>,
    /// Has the journal written whatever was noted before; blocks.
    pub flush_journal: Arc<dyn Fn(Duration) -> bool + Send + Sync>,
    /// The settings in force.
    pub settings: Box<dyn Fn() -> Checked + Send>,
    /// What webhooks are signed by.
    pub keys: SigningKeys,
    /// Where owners of each region find their API.
    pub regions: Regions,
    /// The time.
    pub clock: Clock,
    /// For the jitter.
    pub random: Box<dyn Random>,
    /// Where attempts are counted.
    pub counts: Arc<Counts>,
}

/// Delivers what the outbox holds. Its calls to store and journal block, so they are made on threads of their own: no
/// message waits for another's, and none for the housekeeping.
pub struct Notifier(Parts, Told);

/// Messages by id with those of their contacts that have them while others do not yet. Lost with the process, after
/// which a contact may be told again.
#[derive(Default)]
struct Told(RefCell<HashSet<(String, String)>>);

/// Why an attempt failed.
enum Failure {
    /// It may be tried again.
    Again(String),
    /// The recipient wants no more.
    Final(String),
}

impl Notifier {
    /// A notifier of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(parts, Told::default())
    }

    /// Delivers until `stopped` is true, then waits at most 2 s for what is under way. To be run on a
    /// [`tokio::task::LocalSet`].
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let this = Rc::new(self);
        let mut attempts = JoinSet::new();
        let mut house_kept: Option<Now> = None;
        let mut keeping_house = JoinSet::new();
        while !*stopped.borrow() {
            let now = this.0.clock.now();
            while keeping_house.try_join_next().is_some() {}
            if house_kept.is_none_or(|before| now.since(before) >= KEEP_HOUSE_EVERY)
                && keeping_house.is_empty()
            {
                keeping_house.spawn_local(Rc::clone(&this).keep_house(now));
                house_kept = Some(now);
            }
            for delivery in this.claim(now, MOST_AT_A_TIME - attempts.len()).await {
                attempts.spawn_local(Rc::clone(&this).attempt(delivery));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = attempts.join_next(), if !attempts.is_empty() => {}
                _ = stopped.wait_for(|stopping| *stopping) => break,
            }
        }
        let last = async { while attempts.join_next().await.is_some() {} };
        // Whatever is not done by then is due again when its lease is over.
        let _ = tokio::time::timeout(LAST_ATTEMPTS, last).await;
    }

    async fn claim(&self, now: Now, count: usize) -> Vec<Delivery> {
        if count == 0 {
            return Vec::new();
        }
        let claimed = self.of_store(move |store| store.claim(now, LEASE, count as u32)).await;
        claimed.unwrap_or_else(|why| {
            tracing::warn!(why, "the outbox cannot be read; messages wait");
            Vec::new()
        })
    }

    async fn keep_house(self: Rc<Self>, now: Now) {
        if let Some(journal) = self.0.journal.clone()
            && let Err(why) = told(blocking(move || journal.sweep(now)).await)
        {
            tracing::warn!(why, "old entries of the journal stay");
        }
        let before = now.unix_millis.saturating_sub(SETTLED_KEPT_MILLIS);
        if let Err(why) = self.of_store(move |store| store.forget_settled(before, MOST_FORGOTTEN)).await {
            tracing::warn!(why, "old messages stay in the outbox");
        }
        self.count_backlog().await;
    }

    async fn count_backlog(&self) {
        if let Ok(backlog) = self.of_store(|store| store.backlog()).await {
            self.0.counts.set_backlog(backlog.messages, backlog.oldest_unix_millis);
        }
    }

    /// What the store says, or why it says nothing.
    async fn of_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, tokens::Error> + Send + 'static,
    ) -> Result<T, String> {
        let store = Arc::clone(&self.0.store);
        told(blocking(move || work(&*store)).await)
    }

    async fn attempt(self: Rc<Self>, delivery: Delivery) {
        let settings = (self.0.settings)();
        let sent = tokio::time::timeout(ATTEMPT_DEADLINE, self.send(&delivery, &settings)).await;
        let sent = sent.unwrap_or_else(|_| Err((Channel::Webhook, Failure::Again(LATE.to_owned()))));
        self.settle(&delivery, &settings, sent).await;
        self.count_backlog().await;
    }

    /// Sends a message to all whom it is for and who do not have it. One contact's failure keeps it from no other.
    async fn send(&self, delivery: &Delivery, settings: &Checked) -> Result<Channel, (Channel, Failure)> {
        let failed = |why: String| (Channel::Webhook, Failure::Again(why));
        let message = self.message(delivery).await.map_err(failed)?;
        let (contacts, signed_as) = match &delivery.recipient {
            Recipient::Contact(contact) => (vec![contact], message.workspace_id()),
            Recipient::Operator => (settings.operator_contacts.iter().collect(), OPERATOR),
        };
        if let (Recipient::Operator, Contents::Used(used)) = (&delivery.recipient, &message.data)
            && contacts.is_empty()
            && used.has_contacts
        {
            // The workspace's contacts are told, and the operator asked for nothing.
            return Ok(Channel::Webhook);
        }
        // None takes another's time.
        let share = ATTEMPT_DEADLINE / contacts.len().max(1) as u32;
        let (mut reached, mut failure) = (None, None);
        for contact in &contacts {
            let channel = channel_of(contact);
            if self.1.holds(delivery, contact) {
                reached = Some(channel);
                continue;
            }
            let telling = async {
                match channel {
                    Channel::Webhook => self.post(contact, signed_as, delivery, &message, settings).await,
                    Channel::Email => self.mail(contact, delivery, &message, settings).await,
                }
            };
            let sent = tokio::time::timeout(share, telling).await;
            match sent.unwrap_or_else(|_| Err(Failure::Again(LATE.to_owned()))) {
                Ok(()) => {
                    self.1.add(delivery, contact);
                    reached = Some(channel);
                }
                // Whoever wants no more keeps nobody from being tried again.
                Err(_) if matches!(failure, Some((_, Failure::Again(_)))) => {}
                Err(again) => failure = Some((channel, again)),
            }
        }
        match (failure, reached) {
            (Some(again @ (_, Failure::Again(_))), _) => Err(again),
            (_, Some(channel)) => Ok(channel),
            (Some(last), None) => Err(last),
            (None, None) => Err(failed(NOBODY.to_owned())),
        }
    }

    async fn post(
        &self,
        address: &str,
        signed_as: &str,
        delivery: &Delivery,
        message: &Message,
        settings: &Checked,
    ) -> Result<(), Failure> {
        let body = serde_json::to_vec(message).map_err(|error| Failure::Again(error.to_string()))?;
        let unix_seconds = self.0.clock.now().unix_seconds();
        let signatures = self.0.keys.sign(signed_as, &delivery.id, unix_seconds, &body);
        let signed = Signed { message_id: &delivery.id, unix_seconds, signatures, body: Bytes::from(body) };
        webhook::post(address, signed, settings).await.map_err(|refusal| match refusal {
            Refusal::Failed(why) => Failure::Again(why),
            Refusal::Gone => Failure::Final("the receiver answered 410: it wants no more".to_owned()),
        })
    }

    async fn mail(
        &self,
        address: &str,
        delivery: &Delivery,
        message: &Message,
        settings: &Checked,
    ) -> Result<(), Failure> {
        let Some(smtp) = &settings.smtp else {
            let why = "no server takes e-mails; name one in `notifications.smtp.host`";
            return Err(Failure::Again(why.to_owned()));
        };
        let mail = mail::Mail {
            message_id: &delivery.id,
            to: address,
            subject: text::subject(message),
            text: text::text(message),
        };
        mail::send(mail, smtp).await.map_err(Failure::Again)
    }

    /// The message of a delivery as of now.
    async fn message(&self, delivery: &Delivery) -> Result<Message, String> {
        if let Some(entry) = delivery.entries.first().filter(|entry| used::is_use(entry)) {
            return self.message_of_use(entry).await;
        }
        let gateways_missing = self.all_handed_on(delivery).await.unwrap_or_else(|why| {
            tracing::warn!(why, "a leak is told of without what tokens did");
            None
        });
        let body = |entry: &LogEntry| serde_json::from_str(&entry.body).map_err(|error| error.to_string());
        let bodies = delivery.entries.iter().map(body).collect::<Result<Vec<LeakBody>, _>>()?;
        let share = report::share(bodies.iter().map(|body| 1 + body.also_revoked.len()).sum());
        let (mut leaks, mut base_url) = (Vec::new(), "");
        for (entry, body) in delivery.entries.iter().zip(bodies) {
            let (id, workspace_id) = (entry.subject.clone(), body.workspace.clone());
            let read = move |store: &dyn Store| Ok((store.token(&id)?, store.workspace(&workspace_id)?));
            let (token, workspace) = self.of_store(read).await?;
            let region = workspace.and_then(|workspace| self.0.regions.by_name(&workspace.region));
            base_url = region.map_or("", |region| &*self.0.regions.region(region).base_url);
            let report = match gateways_missing {
                Some(missing) => self.report(entry, &body, share, missing).await.unwrap_or_else(|why| {
                    tracing::warn!(why, "a leak is told of without what the token did");
                    None
                }),
                None => None,
            };
            leaks.push(Data::of_leak(entry, body, token.as_ref(), base_url, report));
        }
        let mut told = leaks.into_iter();
        let first = told.next().ok_or_else(|| "the log does not have what it tells of".to_owned())?;
        Ok(Message::of_leaks(first, told.collect(), delivery.leaks, base_url))
    }

    async fn message_of_use(&self, entry: &LogEntry) -> Result<Message, String> {
        let body: UseBody = serde_json::from_str(&entry.body).map_err(|error| error.to_string())?;
        let id = body.workspace.clone();
        let workspace = self.of_store(move |store| store.workspace(&id)).await?;
        let has_contacts = workspace.as_ref().is_some_and(|workspace| !workspace.contacts.is_empty());
        let region = workspace.and_then(|workspace| self.0.regions.by_name(&workspace.region));
        let base_url = region.map_or("", |region| &*self.0.regions.region(region).base_url);
        Ok(Message::of_use(entry, body, base_url, has_contacts))
    }

    /// What a leaked token did and those that were revoked with it, each with up to `share` requests.
    async fn report(
        &self,
        entry: &LogEntry,
        body: &LeakBody,
        share: u32,
        gateways_missing: u64,
    ) -> Result<Option<Report>, String> {
        let Some(journal) = self.0.journal.clone() else { return Ok(None) };
        let from_unix_millis = entry.at_unix_millis.saturating_sub(LOOKS_BACK_MILLIS);
        let tokens: Vec<String> = std::iter::once(entry.subject.clone())
            .chain(body.also_revoked.iter().map(ToString::to_string))
            .collect();
        let read = move || {
            let tokens = tokens.iter().map(String::as_str);
            Report::of(&*journal, tokens, from_unix_millis, share)
        };
        let report = told(blocking(read).await)?;
        Ok(Some(Report { gateways_missing, ..report }))
    }

    /// Waits until every gateway that shares the journal has handed on what it noted, but not for long; how many have
    /// not. [`None`] where no journal is kept.
    async fn all_handed_on(&self, delivery: &Delivery) -> Result<Option<u64>, String> {
        let Some(journal) = self.0.journal.clone() else { return Ok(None) };
        let until = Instant::now() + self.patience(delivery);
        let (flush, of_all) = (Arc::clone(&self.0.flush_journal), Arc::clone(&journal));
        let ask = move || {
            let asked = of_all.ask_all()?;
            flush(JOURNAL_FLUSH);
            Ok::<_, JournalError>(asked)
        };
        let asked = told(blocking(ask).await)?;
        loop {
            let journal = Arc::clone(&journal);
            let missing = told(blocking(move || journal.missing(asked)).await)?;
            if missing == 0 || Instant::now() >= until {
                return Ok(Some(missing));
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// How long other gateways are waited for. One that was killed hands nothing on, and must not keep owners from
    /// being told within 2 s; another attempt has time.
    fn patience(&self, delivery: &Delivery) -> Duration {
        if delivery.attempt > 1 {
            return OTHERS_HAND_ON;
        }
        let now = self.0.clock.now().unix_millis;
        let age = Duration::from_millis(now.saturating_sub(delivery.enqueued_at_unix_millis));
        HANDED_ON_WITHIN.saturating_sub(age).max(LEAST_HAND_ON)
    }

    /// Writes down how an attempt ended, and says it.
    async fn settle(
        &self,
        delivery: &Delivery,
        settings: &Checked,
        sent: Result<Channel, (Channel, Failure)>,
    ) {
        let now = self.0.clock.now();
        let (channel, counted, end) = match sent {
            Ok(channel) => {
                let (token, event) = about(delivery);
                let (message, attempt, leaks) = (&*delivery.id, delivery.attempt, delivery.leaks);
                let by = channel.name();
                tracing::info!(message, event, token, leaks, attempt, channel = by, "owners were told");
                (channel, End::Delivered, Attempt::Delivered)
            }
            Err((channel, failure)) => {
                let (counted, end) = self.failed(delivery, settings, now, channel, failure);
                (channel, counted, end)
            }
        };
        if !matches!(end, Attempt::Failed { .. }) {
            self.1.forget(delivery);
        }
        let (id, attempt) = (delivery.id.clone(), delivery.attempt);
        if let Err(why) = self.of_store(move |store| store.settle(now, &id, attempt, &end)).await {
            let message = &*delivery.id;
            tracing::warn!(why, message, "how a delivery ended was not written down; it is tried again");
        }
        // Counted last: whoever sees it counted finds it written.
        self.0.counts.add(channel, counted);
    }

    /// How an attempt that failed ends. What is not tried again is delivered all the same if one of several contacts has it.
    fn failed(
        &self,
        delivery: &Delivery,
        settings: &Checked,
        now: Now,
        channel: Channel,
        failure: Failure,
    ) -> (End, Attempt) {
        let (token, event) = about(delivery);
        let (message, attempt, leaks) = (&*delivery.id, delivery.attempt, delivery.leaks);
        let (why, due) = match failure {
            Failure::Final(why) => (why, None),
            Failure::Again(why) => (why, self.due(delivery, now, settings.give_up_after)),
        };
        let channel = channel.name();
        if let Some(due_at_unix_millis) = due {
            let again_seconds = due_at_unix_millis.saturating_sub(now.unix_millis) / 1_000;
            let said = "owners were not told yet";
            tracing::warn!(message, event, token, leaks, attempt, channel, why, again_seconds, "{said}");
            (End::Failed, Attempt::Failed { due_at_unix_millis, why })
        } else if self.1.has_some(delivery) {
            let said = "given up on one contact; others were told";
            tracing::warn!(message, event, token, leaks, attempt, channel, why, "{said}");
            (End::Delivered, Attempt::Delivered)
        } else {
            let said = "owners could not be told; given up";
            tracing::error!(message, event, token, leaks, attempt, channel, why, "{said}");
            (End::GivenUp, Attempt::GivenUp { why })
        }
    }

    fn due(&self, delivery: &Delivery, now: Now, give_up_after: Duration) -> Option<u64> {
        let mut dice = [0; 8];
        // Without dice there is no jitter, which is no reason not to deliver.
        let _ = self.0.random.fill(&mut dice);
        let random = u64::from_le_bytes(dice);
        next_attempt(
            delivery.attempt,
            delivery.enqueued_at_unix_millis,
            now.unix_millis,
            give_up_after,
            random,
        )
    }
}

impl Told {
    fn holds(&self, delivery: &Delivery, contact: &str) -> bool {
        self.0.borrow().contains(&(delivery.id.clone(), contact.to_owned()))
    }

    /// Whether any contact of a delivery was told.
    fn has_some(&self, delivery: &Delivery) -> bool {
        self.0.borrow().iter().any(|(id, _)| *id == delivery.id)
    }

    fn add(&self, delivery: &Delivery, contact: &str) {
        let mut told = self.0.borrow_mut();
        if told.len() < MOST_TOLD {
            told.insert((delivery.id.clone(), contact.to_owned()));
        }
    }

    fn forget(&self, delivery: &Delivery) {
        self.0.borrow_mut().retain(|(id, _)| *id != delivery.id);
    }
}

/// The token and the kind of what a delivery tells of first.
fn about(delivery: &Delivery) -> (&str, &str) {
    delivery.entries.first().map_or(("", ""), |entry| (&*entry.subject, &*entry.kind))
}

/// Work that blocks, on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|stopped| stopped.to_string())
}

/// What work that blocks has brought, or why it has brought nothing, in words.
fn told<T, E: std::fmt::Display>(done: Result<Result<T, E>, String>) -> Result<T, String> {
    done?.map_err(|error| error.to_string())
}

fn channel_of(contact: &str) -> Channel {
    if contact.contains("://") { Channel::Webhook } else { Channel::Email }
}
