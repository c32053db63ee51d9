//! Medians and percentiles of a few figures.

/// Times in milliseconds, by what took them, in the order in which that first came.
#[derive(Default)]
pub struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    pub fn add(&mut self, what: &'static str, ms: f64) {
        match self.0.iter_mut().find(|(other, _)| *other == what) {
            Some((_, times)) => times.push(ms),
            None => self.0.push((what, vec![ms])),
        }
    }

    pub fn append(&mut self, other: Self) {
        for (what, times) in other.0 {
            times.into_iter().for_each(|ms| self.add(what, ms));
        }
    }

    pub fn of(&self, what: &str) -> Option<Sorted> {
        let (_, times) = self.0.iter().find(|(other, _)| *other == what)?;
        Sorted::of(times.iter().copied())
    }

    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(what, _)| *what)
    }
}

/// Figures in order, at least one.
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// `None` without figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        (!figures.is_empty()).then_some(Self(figures))
    }

    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        } else {
            self.0[middle]
        }
    }

    pub fn least(&self) -> f64 {
        self.0[0]
    }

    pub fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The figure that `percent` of all do not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.saturating_sub(1)]
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_the_ends_and_the_tail_are_found() {
        let sorted = Sorted::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(
            (sorted.least(), sorted.median(), sorted.most()),
            (1.0, 2.0, 3.0)
        );
        assert_eq!(Sorted::of([4.0, 2.0]).unwrap().median(), 3.0);
        let hundred = Sorted::of((1..=100).map(f64::from)).unwrap();
        assert_eq!(
            (hundred.percentile(50), hundred.percentile(99)),
            (50.0, 99.0)
        );
        assert!(Sorted::of([]).is_none());
    }
}
