WScript.Echo(1);
// SIG // Begin signature block
// SIG // MIIFd
// SIG // End signature block
