//! Being told at once that the log has grown. Only a wake-up: whoever is not told looks at the log anyway.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::AsyncMessage;

use super::connector::{Connector, Driver};
use super::failure::within;
use super::pool::ANSWER_DEADLINE;
use super::tables::CHANNEL;
use crate::tokens::store::Wake;
use crate::tokens::store::failure::Failure;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often it is asked whether a silent connection still works.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Watch(pub(super) AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens on a connection of its own, and connects again when that is lost, at longer and longer intervals.
pub(super) async fn listen(connector: Arc<Connector>, wake: Wake) {
    let mut pause = FIRST_PAUSE;
    let mut is_lost = false;
    loop {
        let Err(failure) = listen_once(&connector, &wake, &mut pause, &mut is_lost).await;
        if !is_lost {
            is_lost = true;
            let error = failure.at("PostgreSQL").to_string();
            tracing::warn!(error, "changes are not notified; the log is looked at as often as before");
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

async fn listen_once(
    connector: &Connector,
    wake: &Wake,
    pause: &mut Duration,
    is_lost: &mut bool,
) -> Result<std::convert::Infallible, Failure> {
    let (client, driver) = connector.open("tollgate listen").await?;
    let stays = async {
        within(ANSWER_DEADLINE, client.batch_execute(&format!("LISTEN {CHANNEL}"))).await?;
        if std::mem::take(is_lost) {
            tracing::info!("changes are notified again");
        }
        *pause = FIRST_PAUSE;
        // Something may have happened while nobody listened.
        wake();
        loop {
            tokio::time::sleep(KEEPALIVE).await;
            within(ANSWER_DEADLINE, client.check_connection()).await?;
        }
    };
    tokio::select! {
        ended = drive(driver, wake) => Err(ended),
        ended = stays => ended,
    }
}

/// Wakes for each notification, until the connection ends; why it did.
async fn drive(mut driver: Driver, wake: &Wake) -> Failure {
    loop {
        match poll_fn(|cx| driver.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(_))) => wake(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.into(),
            None => return super::failure::closed(),
        }
    }
}
