//! What users see when they get it wrong, and odd things that must work. After a change of
//! messages: `TRYBUILD=overwrite cargo test -p job-macros --test ui`, then read them as a user
//! would.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
