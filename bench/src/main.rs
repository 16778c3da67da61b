//! The program: see `--help`, and `bench/README.md`.

mod cli;

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
#[cfg(feature = "azure")]
use bench::azure;
use bench::figure::{Figure, LeftOut, Report};
use bench::machine::Machine;
use bench::round::{Effort, progress};
use bench::{instructions, memory, micro, results, scale, table, telemetry};

use self::cli::{Command, Part};

#[allow(clippy::print_stdout, reason = "it is what it is for")]
fn main() -> anyhow::Result<()> {
    let options = match cli::parse(std::env::args().skip(1))? {
        Command::Help => {
            println!("{}", cli::USAGE);
            return Ok(());
        }
        Command::Work { case, jobs, one_thread } => {
            return instructions::work(&case, jobs, one_thread);
        }
        Command::Flow { jobs } => {
            println!("{}", serde_json::to_string(&scale::flow::run(jobs)?)?);
            return Ok(());
        }
        #[cfg(feature = "azure")]
        Command::Serve { queue } => return azure::processes::serve(&queue),
        Command::Instructions { effort, record } => {
            println!("{}", instructions::compare(effort, record)?);
            return Ok(());
        }
        Command::Telemetry { effort } => {
            println!("{}", telemetry::compare(effort)?);
            return Ok(());
        }
        Command::Run(options) => options,
    };
    // Before it is measured: what is measured was built from this.
    let (machine, arguments) = (Machine::here(), std::env::args().skip(1).collect());
    let mut figures = Vec::new();
    let mut left_out = LeftOut::default();
    let mut empty = Vec::new();
    for part in &options.parts {
        let began = Instant::now();
        let measured = measure(*part, options.effort, &mut left_out);
        progress(&format!("{part:?} took {:.0} s", began.elapsed().as_secs_f64()));
        if measured.is_empty() {
            empty.push(*part);
        }
        figures.extend(measured);
    }
    let report = Report { machine, arguments, rounds: options.effort.rounds, figures, left_out };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", table::of_report(&report));
    }
    if options.save {
        ensure!(empty.is_empty(), "not saved: there is nothing of {empty:?}");
        results::save(&report, Path::new(env!("CARGO_MANIFEST_DIR")))?;
    }
    Ok(())
}

fn measure(part: Part, effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    match part {
        Part::Memory => {
            let mut figures = memory::measure(effort, left_out);
            let allocations = left_out.unless("allocations", memory::allocations(effort));
            figures.extend(allocations.unwrap_or_default());
            figures
        }
        Part::Latency => memory::start_latency(effort, left_out),
        #[cfg(feature = "azure")]
        Part::Azure => azure::measure(effort, left_out),
        Part::Scale => scale::measure(effort, left_out),
        Part::Micro => micro::measure(effort, left_out),
    }
}
