//! A message as an e-mail, handed to one SMTP server.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::settings::{Encryption, Smtp};

/// For one attempt, from the connection to the server's last answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// For one answer of the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// What is mailed.
pub(super) struct Mail<'m> {
    pub(super) message_id: &'m str,
    pub(super) to: &'m str,
    pub(super) subject: String,
    pub(super) text: String,
}

/// Hands a mail to the server once; the error says why not.
pub(super) async fn send(mail: Mail<'_>, smtp: &Smtp) -> Result<(), String> {
    let message = message(mail, smtp)?;
    let transport = transport(smtp)?;
    let sent = tokio::time::timeout(DEADLINE, transport.send(message)).await;
    match sent {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(told(&error)),
        Err(_) => Err(format!("the SMTP server did not take it within {} s", DEADLINE.as_secs())),
    }
}

/// The error with its causes: the library's own text often names only the first.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn message(mail: Mail<'_>, smtp: &Smtp) -> Result<Message, String> {
    let to: Address = mail.to.parse().map_err(|_| "the contact is no e-mail address".to_owned())?;
    let host = smtp.from.domain();
    Message::builder()
        .message_id(Some(format!("<{}@{host}>", mail.message_id)))
        .from(Mailbox::new(Some("tollgate".to_owned()), smtp.from.clone()))
        .to(Mailbox::new(None, to))
        .subject(mail.subject)
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text)
        .map_err(|error| error.to_string())
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let tls = match smtp.encryption {
        Encryption::None => Tls::None,
        Encryption::Starttls => Tls::Required(parameters(smtp)?),
        Encryption::Tls => Tls::Wrapper(parameters(smtp)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(ANSWER_TIMEOUT));
    if let Some(login) = &smtp.login {
        let password = login.password.expose().clone();
        builder = builder.credentials(Credentials::new(login.user.clone(), password));
    }
    Ok(builder.build())
}

fn parameters(smtp: &Smtp) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(smtp.host.clone());
    if let Some(file) = &smtp.ca_file {
        let pem = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| told(&error))?);
    }
    builder.build().map_err(|error| told(&error))
}
