//! The configuration file: what it becomes, and what each mistake in it gets.

mod helpers;
mod load;
mod mistakes;
mod nbd;
mod outside;
mod replicas;
mod returning;
mod settings;
mod tcp;
