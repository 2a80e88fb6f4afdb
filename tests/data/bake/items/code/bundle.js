(()=>{var a=/\/\/`/g;console.log(a)})();
//# sourceMappingURL=bundle.js.map