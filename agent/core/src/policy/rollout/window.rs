//! Windows of time in which a workload may be rolled: `Mon-Fri 22:00-04:00 Europe/Berlin`, or several of them with a semicolon between.

use crate::model::names::Name;

/// How a window is written.
pub(super) const ALLOWED: &str = "windows as \"Mon-Fri 22:00-04:00 Europe/Berlin\" with a semicolon between them: days (else each), from and to \
                           (up to 24:00), and a time zone (else UTC)";

/// The most windows of one workload.
const MOST: usize = 16;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MINUTES: u16 = 24 * 60;

/// What the clocks of a time zone show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The day of the week: 0 is Monday.
    pub day: u8,
    /// The minute of the day.
    pub minute: u16,
}

/// The windows of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows(Vec<Window>);

/// One window. It begins on its days, and may end on the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// A bit for each day, Monday's the lowest.
    days: u8,
    from: u16,
    to: u16,
    zone: Name,
}

impl Windows {
    /// Reads windows; `None` for what isn't written as `ALLOWED` says.
    pub fn parse(text: &str) -> Option<Self> {
        let all: Vec<Window> = text.split(';').take(MOST + 1).map(Window::parse).collect::<Option<_>>()?;
        (all.len() <= MOST).then_some(Self(all))
    }

    /// The time zones, as they are written.
    pub fn zones(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|window| &window.zone)
    }

    /// Whether any is open, by what the clocks show in each zone; one whose zone isn't known is closed.
    pub fn are_open(&self, clock: impl Fn(&Name) -> Option<Clock>) -> bool {
        self.0.iter().any(|window| clock(&window.zone).is_some_and(|clock| window.is_open(clock)))
    }
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace().peekable();
        let days = match words.next_if(|word| !word.starts_with(|first: char| first.is_ascii_digit())) {
            Some(days) => parse_days(days)?,
            None => (1 << DAYS.len()) - 1,
        };
        let (from, to) = words.next()?.split_once('-')?;
        let (from, to) = (parse_time(from)?, parse_time(to)?);
        let zone = words.next().unwrap_or("UTC");
        let is_name = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        let is_zone = zone.len() <= 64 && zone.chars().all(is_name);
        (from < MINUTES && from != to && is_zone && words.next().is_none()).then(|| Self {
            days,
            from,
            to,
            zone: zone.into(),
        })
    }

    fn is_open(&self, Clock { day, minute }: Clock) -> bool {
        let begins_on = |day: u8| self.days & (1 << (day % 7)) != 0;
        if self.from < self.to {
            return begins_on(day) && (self.from..self.to).contains(&minute);
        }
        (begins_on(day) && minute >= self.from) || (begins_on(day + 6) && minute < self.to)
    }
}

/// `Mon`, `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
fn parse_days(text: &str) -> Option<u8> {
    let index = |word: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(word));
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first)?, index(last)?);
        let count = (last + DAYS.len() - first) % DAYS.len() + 1;
        (first..first + count).for_each(|day| days |= 1 << (day % DAYS.len()));
    }
    Some(days)
}

/// `22:00`, in minutes; up to `24:00`.
fn parse_time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, digits| {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())?
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= MINUTES).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_open(text: &str, day: u8, hour: u16, minute: u16) -> bool {
        let clock = Clock { day, minute: hour * 60 + minute };
        Windows::parse(text).unwrap().are_open(|zone| (**zone == *"UTC").then_some(clock))
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_its_last() {
        for (text, day, hour, minute, expected) in [
            ("09:00-17:30", 6, 9, 0, true),
            ("09:00-17:30", 6, 17, 29, true),
            ("09:00-17:30", 6, 17, 30, false),
            ("Mon-Fri 09:00-17:30", 5, 12, 0, false),
            ("mon-fri 09:00-17:30 UTC", 4, 12, 0, true),
            ("Sat,Sun 00:00-24:00", 6, 23, 59, true),
            ("Fri-Mon 00:00-24:00", 0, 0, 0, true),
            ("Fri-Mon 00:00-24:00", 1, 0, 0, false),
            // It begins on Friday and ends on Saturday.
            ("Mon-Fri 22:00-04:00", 5, 3, 59, true),
            ("Mon-Fri 22:00-04:00", 5, 22, 0, false),
            ("Mon-Fri 22:00-04:00", 0, 3, 59, false),
            ("Sun 22:00-04:00", 0, 3, 59, true),
            ("Mon 01:00-02:00; Tue 01:00-02:00", 1, 1, 30, true),
            ("09:00-17:30 Mars/Olympus", 1, 12, 0, false),
        ] {
            assert_eq!(are_open(text, day, hour, minute), expected, "{text} {day} {hour}:{minute}");
        }
    }

    #[test]
    fn what_is_no_window_is_none() {
        for text in [
            "",
            " ",
            "9:00-17:00",
            "09:00",
            "09:00-25:00",
            "24:00-25:00",
            "09:60-10:00",
            "09:00-09:00",
            "Mo 09:00-10:00",
            "Mon- 09:00-10:00",
            "09:00-10:00 UTC x",
            "09:00-10:00 ../etc",
            "09:00-10:00;",
            "+9:00-10:00",
        ] {
            assert_eq!(Windows::parse(text), None, "{text:?}");
        }
        let many = vec!["09:00-10:00"; MOST].join(";");
        assert!(Windows::parse(&many).is_some());
        assert_eq!(Windows::parse(&format!("{many};09:00-10:00")), None);
        let zones = Windows::parse("09:00-10:00; 09:00-10:00 Europe/Berlin").unwrap();
        assert_eq!(zones.zones().map(|zone| &**zone).collect::<Vec<_>>(), ["UTC", "Europe/Berlin"]);
    }
}
