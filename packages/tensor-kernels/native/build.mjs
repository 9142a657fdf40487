console.log('native: placeholder');
