# Sorts stars.csv by brightness (the smaller the magnitude, the brighter) into a table.
BEGIN { FS = "," }
NR > 1 {
  at = ++count
  while (at > 1 && magnitude[at - 1] > $3 + 0) {
    magnitude[at] = magnitude[at - 1]
    line[at] = line[at - 1]
    at--
  }
  magnitude[at] = $3 + 0
  line[at] = sprintf("%-16s %-14s %6.2f %8s ly", $1, $2, $3, $4)
}
END { for (at = 1; at <= count; at++) print line[at] }
