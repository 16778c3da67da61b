//! The program: see `--help`, and `bench/README.md`.

mod cli;

use bench::figure::Report;
use bench::machine::Machine;
use bench::{azure, instructions, memory, results, table};

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
        Command::Instructions { effort, record } => {
            println!("{}", instructions::compare(effort, record)?);
            return Ok(());
        }
        Command::Run(options) => options,
    };
    let mut report = Report {
        machine: Machine::here(),
        rounds: options.effort.rounds,
        figures: Vec::new(),
        left_out: Vec::new(),
    };
    for part in options.parts {
        match part {
            Part::Azure => report.figures.extend(azure::measure(options.effort)?),
            Part::Memory => {
                report.figures.extend(memory::measure(options.effort)?);
                match memory::allocations(options.effort) {
                    Ok(figures) => report.figures.extend(figures),
                    Err(error) => report.left_out.push(format!("allocations: {error:#}")),
                }
            }
        }
    }
    if options.save {
        results::save(&report)?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", table::of_report(&report));
    }
    Ok(())
}
