//! `#[job]` as a user sees it. Nothing of serde is in scope, on purpose.

use std::time::Duration;

use job_core::{Data, Job, JobContext, JobError, job};

/// A dependency.
#[derive(Debug)]
pub struct Mailer {
    prefix: &'static str,
}

/// Sends the welcome mail.
#[job(queue = "mail", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "30s", expires_in = "1h30m")]
pub async fn send_welcome(
    /// Who gets it.
    user_id: u64,
    #[serde(default, rename = "language")] lang: Option<String>,
    mailer: Data<Mailer>,
) -> Result<(), JobError> {
    if user_id == 0 {
        return Err(JobError::permanent(format!("{}: no such user, {lang:?}", mailer.prefix)));
    }
    Ok(())
}

#[job]
async fn ping() -> Result<(), String> {
    Ok(())
}

#[job(name = "kind.of/type", backoff = curve)]
async fn r#type(r#struct: String, mut count: u8, _: JobContext) -> std::io::Result<()> {
    count = count.wrapping_add(1);
    let _ = (r#struct, count);
    Ok(())
}

fn curve(attempt: u32) -> Duration {
    Duration::from_secs(u64::from(attempt) * 7)
}

fn to_json(job: &impl Job) -> String {
    serde_json::to_string(job).unwrap()
}

fn from_json<J: Job>(json: &str) -> Result<J, serde_json::Error> {
    serde_json::from_str(json)
}

#[test]
fn the_name_is_the_functions_unless_given() {
    assert_eq!(SendWelcome::NAME, "send_welcome");
    assert_eq!(Ping::NAME, "ping");
    assert_eq!(Type::NAME, "kind.of/type");
    assert_eq!(SendWelcome::VERSION, 1);
    assert!(SendWelcome::ALIASES.is_empty());
}

#[test]
fn the_options_are_those_of_the_attribute() {
    let options = format!("{:?}", SendWelcome::OPTIONS);
    for part in [
        r#"queue: Some("mail")"#,
        "max_attempts: Some(8)",
        "exponential(2s, 600s)",
        "timeout: Some(30s)",
        "expires_in: Some(5400s)",
    ] {
        assert!(options.contains(part), "{part} is not in {options}");
    }
    let options = format!("{:?}", Type::OPTIONS);
    assert!(options.contains("curve: custom") && options.contains("queue: None"), "{options}");
    let none = format!("{:?}", job_core::JobOptions::new());
    assert_eq!(format!("{:?}", Ping::OPTIONS), none);
}

#[test]
fn parameters_are_the_wire_format() {
    let job = SendWelcome { user_id: 7, lang: Some("de".into()) };
    assert_eq!(to_json(&job), r#"{"user_id":7,"language":"de"}"#);
    let job: SendWelcome = from_json(r#"{"user_id":7,"from_the_future":[1]}"#).unwrap();
    assert_eq!((job.user_id, job.lang), (7, None));
    assert!(from_json::<SendWelcome>("{}").is_err());

    let job = Type { r#struct: "x".into(), count: 1 };
    assert_eq!(to_json(&job), r#"{"struct":"x","count":1}"#);
}

#[test]
fn a_job_without_args_is_an_empty_map() {
    assert_eq!(to_json(&Ping), "{}");
    let Ping = from_json("{}").unwrap();
    let Ping = from_json(r#"{"added":{"later":true}}"#).unwrap();
    for other in ["null", "7", r#""ping""#] {
        assert!(from_json::<Ping>(other).is_err(), "{other}");
    }
}

#[test]
fn debug_hides_the_args() {
    let job = SendWelcome { user_id: 7, lang: Some("canary".into()) };
    assert_eq!(format!("{job:?}"), "SendWelcome { .. }");
    assert_eq!(format!("{job:#?}"), "SendWelcome { .. }");
    let job = Type { r#struct: "canary".into(), count: 1 };
    assert_eq!(format!("{job:?}"), "Type { .. }");
    assert_eq!(format!("{Ping:?}"), "Ping { .. }");
}

#[tokio::test]
async fn the_function_can_be_called() {
    let mailer = Data::new(Mailer { prefix: "test" });
    send_welcome(1, None, mailer.clone()).await.unwrap();
    let error = send_welcome(0, None, mailer).await.unwrap_err();
    assert_eq!(error.to_string(), "test: no such user, None");
    ping().await.unwrap();
}

#[test]
fn it_works_inside_a_function() {
    #[job(queue = "inner")]
    async fn inner_job(number: u8) -> Result<(), JobError> {
        let _ = number;
        Ok(())
    }
    assert_eq!(to_json(&InnerJob { number: 1 }), r#"{"number":1}"#);
    assert_eq!(InnerJob::NAME, "inner_job");
}

#[test]
fn what_the_function_needs_is_known_beforehand() {
    use job_core::{Handler, Requirements};
    let required = |requires: fn(&mut Requirements)| {
        let mut needs_of_it = Requirements::default();
        requires(&mut needs_of_it);
        format!("{needs_of_it:?}")
    };
    let needed = required(<SendWelcome as Handler>::requires);
    assert!(needed.contains("Mailer"), "{needed}");
    assert!(!required(<Ping as Handler>::requires).contains("Mailer"));
}

/// A message alone, as a crate has it that only enqueues.
#[job(name = "mail.send", queue = "mail", version = 2, upgrade = from_v1, alias = ["mail", "send"])]
#[derive(Clone)]
#[serde(rename_all = "camelCase")]
pub struct SendMail {
    /// Who gets it.
    pub user_id: u64,
    /// Of a type of the app's.
    pub address: Address,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lang: Option<String>,
}

/// Where to.
#[derive(
    Clone,
    Debug,
    PartialEq,
    job_core::__private::serde::Serialize,
    job_core::__private::serde::Deserialize,
)]
#[serde(crate = "job_core::__private::serde")]
pub struct Address {
    city: String,
}

#[job(name = "mail.send")]
struct SendMailV1;

fn from_v1(SendMailV1: SendMailV1) -> SendMail {
    SendMail { user_id: 0, address: Address { city: "?".into() }, lang: None }
}

mod handlers {
    use super::*;
    use job_core::handler;

    #[handler]
    pub(super) async fn send_mail(
        SendMail { user_id, .. }: SendMail,
        mailer: Data<Mailer>,
    ) -> Result<(), JobError> {
        let _ = (user_id, mailer.prefix);
        Ok(())
    }
}

#[test]
fn a_struct_is_a_message() {
    assert_eq!((SendMail::NAME, SendMail::VERSION), ("mail.send", 2));
    assert_eq!(SendMail::ALIASES, ["mail", "send"]);
    let job = SendMail { user_id: 7, address: Address { city: "canary".into() }, lang: None };
    let json = r#"{"userId":7,"address":{"city":"canary"}}"#;
    assert_eq!(to_json(&job), json);
    let read: SendMail = from_json(json).unwrap();
    assert_eq!((read.user_id, &read.address, &read.lang), (7, &job.address, &None));
    assert!(from_json::<SendMail>(r#"{"userId":7}"#).is_err());
    assert_eq!(format!("{:?}", job.clone()), "SendMail { .. }");
}

#[test]
fn a_handler_is_a_type_and_a_function() {
    use job_core::Handler;
    fn job_of<H: Handler>() -> &'static str {
        H::Job::NAME
    }
    assert_eq!(job_of::<handlers::send_mail>(), "mail.send");
    let mut needs = job_core::Requirements::default();
    <handlers::send_mail as Handler>::requires(&mut needs);
    assert!(format!("{needs:?}").contains("Mailer"));
    let _ = handlers::send_mail;
}
