module reloadlet.io/late

go 1.24
