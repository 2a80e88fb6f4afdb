Write-Host hi

# SIG # Begin signature block
# MIIFd
# SIG # End signature block
